/* SPDX-License-Identifier: Apache-2.0 */
#include "isolate/keeper.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/install.h"
#include "base/scoped.h"
#include "isolate/worker_link.h"
#include "laws/sanitized.h"
#include "worker/worker.h"

/* A keeper that can't be started is not tried more often. */
#define REST_NS NS_PER_S

/* A process that is told to end has so long. */
#define END_NS (NS_PER_S / 2)

/* ---- Processes ----------------------------------------------------------------------------- */

/* What of our environment a plugin's process may see: how it is loaded and how it is watched. */
static void make_environment(char *environment[8])
{
    static const char *const wanted[] = {
        "ASAN_OPTIONS=", "UBSAN_OPTIONS=", "TSAN_OPTIONS=", "LSAN_OPTIONS=", "LD_LIBRARY_PATH="};
    size_t count = 0;

    for (char **at = environ; *at != NULL; at++) {
        for (size_t i = 0; i < sizeof wanted / sizeof *wanted && count < 7; i++) {
            if (strncmp(*at, wanted[i], strlen(wanted[i])) == 0)
                environment[count++] = *at;
        }
    }
    environment[count] = NULL;
}

/* The descriptors of the process: sources above those that it will have, so that none is written
 * over before it is copied. */
static int set_files(posix_spawn_file_actions_t *actions, int plugin, int link)
{
    int why = posix_spawn_file_actions_addopen(actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);

    if (why == 0)
        why = posix_spawn_file_actions_addopen(actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
#if !LAWS_SANITIZED
    if (why == 0)
        why = posix_spawn_file_actions_addopen(actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
#endif
    if (why == 0)
        why = posix_spawn_file_actions_adddup2(actions, plugin, WORKER_PLUGIN);
    if (why == 0)
        why = posix_spawn_file_actions_adddup2(actions, link, WORKER_LINK);
    if (why == 0)
        why = posix_spawn_file_actions_addclosefrom_np(actions, WORKER_LINK + 1);
    return why;
}

/* A session of its own, so that Ctrl+C reaches only the server, which ends the worker when it is
 * done with it; for the same reason it doesn't hear the signals that end a whole service. */
static int set_signals(posix_spawnattr_t *attributes)
{
    sigset_t blocked, all;
    int why;

    (void)sigemptyset(&blocked);
    (void)sigaddset(&blocked, SIGINT);
    (void)sigaddset(&blocked, SIGTERM);
    (void)sigaddset(&blocked, SIGHUP);
    (void)sigfillset(&all);
    why = posix_spawnattr_setflags(attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF |
                                                   POSIX_SPAWN_SETSID);
    if (why == 0)
        why = posix_spawnattr_setsigmask(attributes, &blocked);
    return why != 0 ? why : posix_spawnattr_setsigdefault(attributes, &all);
}

static int spawn(const char *program, char *const argv[], int plugin, int link, pid_t *pid)
{
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    char *environment[8];
    int why;

    make_environment(environment);
    if ((why = posix_spawn_file_actions_init(&actions)) != 0)
        return why;
    if ((why = posix_spawnattr_init(&attributes)) == 0) {
        why = set_files(&actions, plugin, link);
        if (why == 0)
            why = set_signals(&attributes);
        if (why == 0)
            why = posix_spawn(pid, program, &actions, &attributes, argv, environment);
        (void)posix_spawnattr_destroy(&attributes);
    }
    (void)posix_spawn_file_actions_destroy(&actions);
    return why;
}

/* A copy of the descriptor above those that a worker has. */
static int lift(int fd)
{
    return fcntl(fd, F_DUPFD_CLOEXEC, WORKER_LINK + 1);
}

bool keeper_spawn(const char *verb, const char *name, const char *path, int plugin, int *link,
                  int *process, pid_t *pid, struct rasad_error *error)
{
    char program[PATH_MAX];
    char *const argv[] = {"rasad-worker", (char *)verb, (char *)name, (char *)path, NULL};
    int pair[2] = {-1, -1}, why;
    SCOPED(close_at) int ours = -1, theirs = -1, lifted = -1;

    if (!install_path(RASAD_LIBEXEC_DIR "/rasad-worker", program, error))
        return false;
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0)
        return rasad_fail(error, "cannot make a socket: %s", strerror(errno));
    ours = pair[0];
    theirs = lift(pair[1]);
    (void)close(pair[1]);
    lifted = lift(plugin);
    if (theirs < 0 || lifted < 0)
        return rasad_fail(error, "cannot copy a descriptor: %s", strerror(errno));
    if ((why = spawn(program, argv, lifted, theirs, pid)) != 0)
        return rasad_fail(error, "cannot start %s: %s", program, strerror(why));
    *process = pidfd_open(*pid, 0);
    if (*process < 0) {
        why = errno;
        (void)kill(*pid, SIGKILL);
        (void)waitpid(*pid, NULL, 0);
        return rasad_fail(error, "cannot watch a worker: %s", strerror(why));
    }
    *link = take_fd(&ours);
    return true;
}

int keeper_reap(int process, int64_t deadline_ns)
{
    siginfo_t info = {0};
    int64_t left_ns = deadline_ns - clock_steady_ns();
    struct pollfd polled = {.fd = process, .events = POLLIN};

    if (poll(&polled, 1, left_ns > 0 ? (int)(left_ns / NS_PER_MS) : 0) <= 0)
        (void)pidfd_send_signal(process, SIGKILL, NULL, 0);
    while (waitid(P_PIDFD, (id_t)process, &info, WEXITED) != 0) {
        if (errno != EINTR)
            return -1;
    }
    return info.si_code == CLD_EXITED ? info.si_status << 8 : info.si_status;
}

void keeper_say_end(int status, char text[64])
{
    const char *name;

    if (status < 0) {
        (void)snprintf(text, 64, "it was ended");
    } else if (WIFSIGNALED(status)) {
        name = sigabbrev_np(WTERMSIG(status));
        (void)snprintf(text, 64, "it was ended by SIG%s", name != NULL ? name : "?");
    } else {
        (void)snprintf(text, 64, "it ended with status %d", WEXITSTATUS(status));
    }
}

/* ---- The keeper ---------------------------------------------------------------------------- */

/* Ends the process, if there is one; hands end with it. How it ended. */
static int drop(struct keeper *keeper, int64_t patience_ns)
{
    int status = -1;

    close_at(&keeper->link);
    keeper->link = -1;
    if (keeper->process >= 0) {
        status = keeper_reap(keeper->process, clock_steady_ns() + patience_ns);
        (void)close(keeper->process);
    }
    keeper->process = -1;
    return status;
}

/* What the process says about the plugin: a fresh state, or why not. */
static bool take_facts(struct keeper *keeper, struct worker_message *facts,
                       struct rasad_error *error)
{
    int64_t deadline_ns = clock_steady_ns() + KEEPER_PATIENCE_NS;
    char end[64];

    if (!worker_send(keeper->link, WORKER_SECTION, keeper->section, strlen(keeper->section), -1) ||
        !worker_receive(keeper->link, deadline_ns, facts)) {
        if (clock_steady_ns() >= deadline_ns)
            return rasad_fail(error, "%s: its worker does not answer while it loads it",
                              keeper->path);
        keeper_say_end(drop(keeper, END_NS), end);
        return rasad_fail(error, "%s: its worker died while it loaded it: %s", keeper->path, end);
    }
    if (facts->kind == WORKER_FAILED)
        return rasad_fail(error, "%.*s", (int)facts->bytes.length, facts->bytes.at);
    if (facts->kind != WORKER_FACTS || facts->bytes.length == 0)
        return rasad_fail(error, "%s: its worker talks nonsense", keeper->path);
    return true;
}

/* Starts the process; one that was there before must give the same fresh state again. */
static bool start(struct keeper *keeper, struct rasad_error *error)
{
    SCOPED(worker_message_end) struct worker_message facts = WORKER_MESSAGE_NONE;

    if (!keeper_spawn("serve", keeper->name, keeper->path, keeper->plugin, &keeper->link,
                      &keeper->process, &keeper->pid, error) ||
        !take_facts(keeper, &facts, error)) {
        (void)drop(keeper, 0);
        return false;
    }
    if (keeper->fresh.length == 0) {
        keeper->fresh = facts.bytes;
        facts.bytes = (struct text){0};
    } else if (keeper->fresh.length != facts.bytes.length) {
        (void)drop(keeper, 0);
        return rasad_fail(error, "%s: its states have another size than before", keeper->path);
    }
    return true;
}

bool keeper_open(struct keeper *keeper, int plugin, const char *name, const char *path,
                 const char *section, struct rasad_error *error)
{
    *keeper = (struct keeper){.plugin = -1, .link = -1, .process = -1};
    (void)pthread_mutex_init(&keeper->lock, NULL);
    keeper->name = strdup(name);
    keeper->path = strdup(path);
    keeper->section = strdup(section);
    if (keeper->name == NULL || keeper->path == NULL || keeper->section == NULL)
        return rasad_fail_memory(error);
    keeper->plugin = fcntl(plugin, F_DUPFD_CLOEXEC, 0);
    if (keeper->plugin < 0)
        return rasad_fail(error, "cannot copy a descriptor: %s", strerror(errno));
    return start(keeper, error);
}

void keeper_close(struct keeper *keeper)
{
    (void)drop(keeper, END_NS);
    close_at(&keeper->plugin);
    free(keeper->name);
    free(keeper->path);
    free(keeper->section);
    text_free(&keeper->fresh);
    (void)pthread_mutex_destroy(&keeper->lock);
}

/* One question and its answer of this kind; the lock is held. On false the process is gone. */
static bool ask(struct keeper *keeper, enum worker_kind kind, const void *bytes, size_t length,
                int passed, enum worker_kind wanted, struct worker_message *answer)
{
    int64_t deadline_ns = clock_steady_ns() + KEEPER_REPLY_NS;

    if (keeper->link < 0)
        return false;
    if (worker_send(keeper->link, kind, bytes, length, passed) &&
        worker_receive(keeper->link, deadline_ns, answer) && answer->kind == wanted &&
        answer->bytes.length == sizeof(uint32_t))
        return true;
    (void)drop(keeper, 0);
    return false;
}

static bool start_hand(struct keeper *keeper, const struct worker_start *wish, int memory,
                       struct hand *hand)
{
    SCOPED(worker_message_end) struct worker_message answer = WORKER_MESSAGE_NONE;
    uint32_t pid;

    if (!ask(keeper, WORKER_START, wish, sizeof *wish, memory, WORKER_STARTED, &answer) ||
        answer.passed < 0)
        return false;
    memcpy(&pid, answer.bytes.at, sizeof pid);
    *hand = (struct hand){.pid = (pid_t)pid, .process = take_fd(&answer.passed)};
    return true;
}

/* The lock is held. */
static bool start_again(struct keeper *keeper, struct rasad_error *error)
{
    int64_t now_ns = clock_steady_ns();

    if (now_ns < keeper->rest_until_ns)
        return rasad_fail(error, "its worker could not be started a moment ago");
    if (start(keeper, error))
        return true;
    keeper->rest_until_ns = now_ns + REST_NS;
    return false;
}

bool keeper_start_hand(struct keeper *keeper, uint32_t lane, int memory, size_t request_bytes,
                       size_t answer_bytes, struct hand *hand, struct rasad_error *error)
{
    const struct worker_start wish = {
        .request_bytes = request_bytes, .answer_bytes = answer_bytes, .lane = lane};
    bool fine;

    (void)pthread_mutex_lock(&keeper->lock);
    fine = start_hand(keeper, &wish, memory, hand);
    if (!fine) /* it is gone: a second one may do */
        fine = start_again(keeper, error) &&
               (start_hand(keeper, &wish, memory, hand) ||
                rasad_fail(error, "its worker cannot start a process for it"));
    (void)pthread_mutex_unlock(&keeper->lock);
    return fine;
}

int keeper_end_hand(struct keeper *keeper, struct hand *hand)
{
    SCOPED(worker_message_end) struct worker_message answer = WORKER_MESSAGE_NONE;
    uint32_t pid = (uint32_t)hand->pid, status;
    bool known;

    if (hand->process < 0)
        return -1;
    (void)pidfd_send_signal(hand->process, SIGKILL, NULL, 0);
    (void)pthread_mutex_lock(&keeper->lock);
    known = ask(keeper, WORKER_REAP, &pid, sizeof pid, -1, WORKER_REAPED, &answer);
    (void)pthread_mutex_unlock(&keeper->lock);
    if (!known) /* where nobody else takes in orphans, it has become a child of ours */
        (void)waitid(P_PIDFD, (id_t)hand->process, &(siginfo_t){0}, WEXITED);
    (void)close(hand->process);
    hand->process = -1;
    if (!known)
        return -1;
    memcpy(&status, answer.bytes.at, sizeof status);
    return (int)status;
}
