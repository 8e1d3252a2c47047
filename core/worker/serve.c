/* SPDX-License-Identifier: Apache-2.0 */
/*
 * serve: the main process of an isolated metric's worker (keeper.h tells of it): it loads the
 * plugin, configures it, tells what a fresh state is, and then forks a hand whenever the server
 * wants one. Single-threaded, so that a fork is safe, and asleep but for that.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <unistd.h>

#include "base/conf_scan.h"
#include "base/scoped.h"
#include "conf/conf_plugin.h"
#include "hand.h"
#include "isolate/worker_link.h"
#include "sandbox.h"
#include "worker.h"

/* Hands that ended and were not asked for; of more, nobody knows how they ended. */
#define MOST_ENDED 128

struct ended {
    pid_t pid;
    int status;
};

struct serve {
    struct plugin *plugin;
    struct aggregate aggregate;
    size_t state_bytes; /* to the byte, unlike the aggregate's */
    uint32_t missing;   /* of the sandbox */
    struct ended ended[MOST_ENDED];
    size_t ended_count;
};

/* ---- Loading ------------------------------------------------------------------------------- */

/* Says why the server must do without us. */
static int give_up(const struct rasad_error *error)
{
    (void)worker_send(WORKER_LINK, WORKER_FAILED, error->text, strlen(error->text), -1);
    return EX_CONFIG;
}

/* The section's options that are the plugin's, as the server's own conf would read them. */
static bool configure(struct serve *serve, const char *section, size_t length,
                      struct rasad_error *error)
{
    static const struct rasad_option none[1];
    SCOPED(conf_tree_free) struct conf_tree tree = {0};
    SCOPED(free_at) struct rasad_option *rows = NULL;
    size_t count;

    serve->aggregate.plugin = serve->plugin;
    conf_scan_bytes("conf", section, length, &tree);
    if (!conf_plugin_rows(serve->plugin, none, 0, &rows, &count, error))
        return false;
    if (conf_tree_ok(&tree) && tree.root.child_count == 1 &&
        conf_plugin_configure(&tree, &tree.root.children[0], rows, count, 0, &serve->aggregate))
        return true;
    if (tree.complaint_count > 0)
        return rasad_fail(error, "%s", tree.complaints[0].text);
    return tree.failed ? rasad_fail_memory(error) : rasad_fail(error, "no section of a conf");
}

static bool load(struct serve *serve, const char *name, const char *path, struct rasad_error *error)
{
    SCOPED(worker_message_end) struct worker_message section = WORKER_MESSAGE_NONE;

    if (!worker_receive(WORKER_LINK, INT64_MAX, &section) || section.kind != WORKER_SECTION)
        return rasad_fail(error, "%s: its worker was told nothing", path);
    return plugin_adopt(WORKER_PLUGIN, path, &serve->plugin, error) &&
           plugin_load(serve->plugin, name, error) &&
           configure(serve, section.bytes.at, section.bytes.length, error);
}

/* A fresh state, which the server copies ever after. */
static bool send_facts(struct serve *serve)
{
    serve->state_bytes = serve->plugin->api.state_size(serve->aggregate.config);
    return worker_send(WORKER_LINK, WORKER_FACTS, serve->aggregate.fresh, serve->state_bytes, -1);
}

/* ---- Hands --------------------------------------------------------------------------------- */

static void note_end(struct serve *serve, pid_t pid, int status)
{
    if (serve->ended_count < MOST_ENDED)
        serve->ended[serve->ended_count++] = (struct ended){pid, status};
}

/* Takes hands that have ended out of the table of processes. */
static void reap_all(struct serve *serve)
{
    int status;

    for (pid_t pid; (pid = waitpid(-1, &status, WNOHANG)) > 0;)
        note_end(serve, pid, status);
}

/* How a hand ended; one that still lives is made to. -1 of one that we don't know. */
static int status_of(struct serve *serve, pid_t pid)
{
    int status = -1;

    for (size_t i = 0; i < serve->ended_count; i++) {
        if (serve->ended[i].pid != pid)
            continue;
        status = serve->ended[i].status;
        serve->ended[i] = serve->ended[--serve->ended_count];
        return status;
    }
    if (waitpid(pid, &status, WNOHANG) == 0) { /* a child of ours, and alive */
        (void)kill(pid, SIGKILL);
        (void)waitpid(pid, &status, 0);
    }
    return status;
}

/* In the new process. `told` is closed when the kernel watches over it. */
_Noreturn static void become_hand(const struct serve *serve, const struct worker_start *start,
                                  int memory, pid_t keeper)
{
    size_t bytes = channel_bytes(start->request_bytes, start->answer_bytes);
    void *at = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, memory, 0);
    struct hand_work work = {
        .api = &serve->plugin->api,
        .config = serve->aggregate.config,
        .state_bytes = serve->state_bytes,
        .missing = serve->missing,
    };

    if (at == MAP_FAILED || prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) != 0 || getppid() != keeper)
        _exit(1);
    work.channel = channel_at(at, start->request_bytes, start->answer_bytes);
    hand_run(&work);
}

/* Forks a hand and waits until it works or has ended: it closes its end of a pipe then, together
 * with every other descriptor. */
static bool start_hand(const struct serve *serve, const struct worker_message *message)
{
    struct worker_start start;
    SCOPED(close_at) int process = -1;
    pid_t keeper = getpid(), pid;
    uint32_t number;
    int told[2];
    char none;

    if (message->bytes.length != sizeof start || message->passed < 0 || pipe(told) != 0)
        return false;
    memcpy(&start, message->bytes.at, sizeof start);
    if ((pid = fork()) == 0)
        become_hand(serve, &start, message->passed, keeper);
    (void)close(told[1]);
    if (pid > 0)
        process = pidfd_open(pid, 0);
    while (pid > 0 && read(told[0], &none, 1) < 0 && errno == EINTR)
        continue;
    (void)close(told[0]);
    if (process < 0)
        return false;
    number = (uint32_t)pid;
    return worker_send(WORKER_LINK, WORKER_STARTED, &number, sizeof number, process);
}

static bool answer(struct serve *serve, const struct worker_message *message)
{
    uint32_t number;
    int status;

    if (message->kind == WORKER_START)
        return start_hand(serve, message);
    if (message->kind != WORKER_REAP || message->bytes.length != sizeof number)
        return false;
    memcpy(&number, message->bytes.at, sizeof number);
    status = status_of(serve, (pid_t)number);
    number = (uint32_t)status;
    return worker_send(WORKER_LINK, WORKER_REAPED, &number, sizeof number, -1);
}

static void hear(int signal)
{
    (void)signal; /* only that ppoll() returns */
}

/* Answers until the server is gone. */
static void answer_all(struct serve *serve)
{
    const struct sigaction action = {.sa_handler = hear};
    struct pollfd link = {.fd = WORKER_LINK, .events = POLLIN};
    sigset_t child, waiting;

    (void)sigemptyset(&child);
    (void)sigaddset(&child, SIGCHLD);
    (void)sigprocmask(SIG_BLOCK, &child, &waiting);
    (void)sigaction(SIGCHLD, &action, NULL);
    for (bool fine = true; fine;) {
        SCOPED(worker_message_end) struct worker_message message = WORKER_MESSAGE_NONE;

        if (ppoll(&link, 1, NULL, &waiting) > 0)
            fine = worker_receive(WORKER_LINK, INT64_MAX, &message) && answer(serve, &message);
        reap_all(serve);
    }
}

int worker_serve(int argc, char *argv[])
{
    struct serve serve = {0};
    struct rasad_error error = {""};
    pid_t server = getppid();

    if (argc != 3)
        return EX_USAGE;
    /* While the plugin's own code runs here, nothing hears the socket. */
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
    if (getppid() != server)
        return EX_OK;
    serve.missing = sandbox_begin();
    if (!load(&serve, argv[1], argv[2], &error))
        return give_up(&error);
    if (!send_facts(&serve))
        return EX_UNAVAILABLE;
    /* That goes by the thread that started us, which may end long before the server does. */
    (void)prctl(PR_SET_PDEATHSIG, 0, 0, 0, 0);
    answer_all(&serve);
    _exit(EX_OK); /* nothing of the plugin's runs any more */
}
