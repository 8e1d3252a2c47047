/* SPDX-License-Identifier: Apache-2.0 */
#include "probe.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/install.h"
#include "base/scoped.h"
#include "worker/worker.h"

/* How long a probe may take, and all laws. */
#define PROBE_NS (5 * NS_PER_S)
#define LAWS_NS (180 * NS_PER_S)

/* The most arguments that a worker gets, with the NULL. */
enum { MOST_ARGUMENTS = 64 };

/* A worker that runs. */
struct run {
    const char **arguments;
    const struct plugin *plugin, *older;
    bool speaks; /* its standard output is ours */
    pid_t pid;
    int watch; /* pidfd; -1 before it runs */
    int words; /* our end of the pipe */
    int64_t deadline_ns;
    char said[2048];
    size_t length;
};

/* A copy of the descriptor above all those that the worker is given, so that none is overwritten
 * before it is handed on. */
static int lift(int fd)
{
    return fcntl(fd, F_DUPFD_CLOEXEC, WORKER_OLDER + 1);
}

/* Which descriptors the worker begins with; `taken` are lifted copies, -1 for none. */
static int plan_descriptors(posix_spawn_file_actions_t *actions, const struct run *run,
                            const int taken[3])
{
    static const int places[] = {WORKER_PLUGIN, WORKER_LINK, WORKER_OLDER};
    int failed = posix_spawn_file_actions_addopen(actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);

    if (failed == 0 && !run->speaks)
        failed = posix_spawn_file_actions_addopen(actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
    for (size_t i = 0; i < 3 && failed == 0; i++) {
        if (taken[i] >= 0)
            failed = posix_spawn_file_actions_adddup2(actions, taken[i], places[i]);
    }
    if (failed == 0)
        failed = posix_spawn_file_actions_addclosefrom_np(
            actions, run->older != NULL ? WORKER_OLDER + 1 : WORKER_OLDER);
    return failed;
}

/* No signal blocked or ignored as the server's threads have it, and a process group of its own. */
static int plan_signals(posix_spawnattr_t *attributes)
{
    sigset_t none, all;
    int failed = posix_spawnattr_setflags(
        attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP);

    (void)sigemptyset(&none);
    (void)sigfillset(&all);
    if (failed == 0)
        failed = posix_spawnattr_setsigmask(attributes, &none);
    return failed == 0 ? posix_spawnattr_setsigdefault(attributes, &all) : failed;
}

static int spawn(struct run *run, const char *program, const int taken[3])
{
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    int failed = posix_spawn_file_actions_init(&actions);

    if (failed != 0)
        return failed;
    failed = posix_spawnattr_init(&attributes);
    if (failed == 0) {
        failed = plan_descriptors(&actions, run, taken);
        if (failed == 0)
            failed = plan_signals(&attributes);
        if (failed == 0)
            failed = posix_spawn(&run->pid, program, &actions, &attributes,
                                 (char *const *)(uintptr_t)run->arguments, environ);
        (void)posix_spawnattr_destroy(&attributes);
    }
    (void)posix_spawn_file_actions_destroy(&actions);
    return failed;
}

/* Ends whatever is left of the worker and those it started; returns how it ended by itself. */
static int run_reap(struct run *run)
{
    int status = 0;

    (void)kill(-run->pid, SIGKILL);
    (void)kill(run->pid, SIGKILL);
    while (waitpid(run->pid, &status, 0) < 0 && errno == EINTR)
        continue;
    return status;
}

static bool run_start(struct run *run, const char *program, struct rasad_error *error)
{
    int ends[2] = {-1, -1}, failed;

    if (pipe2(ends, O_CLOEXEC) != 0)
        return rasad_fail(error, "cannot make a pipe: %s", strerror(errno));
    run->words = ends[0];
    SCOPED(close_at) int written = ends[1];
    SCOPED(close_at) int plugin = lift(run->plugin->module.fd);
    SCOPED(close_at) int link = lift(written);
    SCOPED(close_at) int older = run->older != NULL ? lift(run->older->module.fd) : -1;

    if (plugin < 0 || link < 0 || (run->older != NULL && older < 0))
        return rasad_fail(error, "cannot hand a descriptor on: %s", strerror(errno));
    failed = spawn(run, program, (const int[]){plugin, link, older});
    if (failed == ENOENT || failed == EACCES)
        return rasad_fail(error, "cannot start %s: %s (is the installation complete?)", program,
                          strerror(failed));
    if (failed != 0)
        return rasad_fail(error, "cannot start %s: %s", program, strerror(failed));
    run->watch = (int)syscall(SYS_pidfd_open, run->pid, 0);
    if (run->watch >= 0)
        return true;
    failed = errno;
    (void)run_reap(run);
    return rasad_fail(error, "cannot watch %s: %s", program, strerror(failed));
}

/* Reads what is there; false once nothing more can come. What doesn't fit is read and dropped. */
static bool run_listen(struct run *run)
{
    char bytes[512];
    ssize_t got = read(run->words, bytes, sizeof bytes);
    size_t room = sizeof run->said - 1 - run->length;

    if (got < 0)
        return errno == EINTR || errno == EAGAIN;
    memcpy(run->said + run->length, bytes, (size_t)got < room ? (size_t)got : room);
    run->length += (size_t)got < room ? (size_t)got : room;
    return got > 0;
}

/* Until the worker is at its end, which is what its pidfd tells; false if it takes too long. */
static bool run_wait(struct run *run)
{
    struct pollfd polled[] = {{.fd = run->watch, .events = POLLIN},
                              {.fd = run->words, .events = POLLIN}};

    for (;;) {
        int64_t left_ns = run->deadline_ns - clock_steady_ns();

        if (left_ns <= 0)
            return false;
        if (poll(polled, 2, (int)(left_ns / NS_PER_MS) + 1) < 0 && errno != EINTR)
            return false;
        if (polled[1].revents != 0 && !run_listen(run))
            polled[1].fd = -1; /* poll() skips it from here on */
        else if (polled[1].revents == 0 && (polled[0].revents & POLLIN) != 0)
            return true;
        if (polled[1].fd < 0)
            polled[1].revents = 0;
    }
}

/* The last line that begins with this word and a blank, without them; NULL if there is none. */
static const char *find_word(const struct run *run, const char *word, char line[1024])
{
    size_t length = strlen(word);
    const char *found = NULL;

    for (const char *at = run->said, *end; (end = strchr(at, '\n')) != NULL; at = end + 1) {
        if (strncmp(at, word, length) != 0 || (at[length] != ' ' && at[length] != '\n'))
            continue;
        found = line;
        (void)snprintf(line, 1024, "%.*s", at[length] == ' ' ? (int)(end - at - length - 1) : 0,
                       at + length + 1);
    }
    return found;
}

/* What it means that the worker ended, or didn't, and said no last word. */
static bool fail_silent(const struct run *run, bool ended, int status, struct rasad_error *error)
{
    char line[1024];
    const char *stage = find_word(run, "at", line);

    if (stage == NULL)
        stage = "being taken"; /* its own code did not run yet */
    if (!ended)
        return rasad_fail(error, "it hangs while %s", stage);
    if (WIFSIGNALED(status))
        return rasad_fail(error, "it crashes while %s (SIG%s)", stage,
                          sigabbrev_np(WTERMSIG(status)));
    return rasad_fail(error, "it ends its process while %s (exit code %d)", stage,
                      WEXITSTATUS(status));
}

/* Runs the worker to its end; on true it has answered "ok". */
static bool run_worker(struct run *run, struct rasad_error *error)
{
    char program[PATH_MAX], line[1024];
    bool ended;
    int status;

    if (!install_path(RASAD_LIBEXEC_DIR "/rasad-worker", program, error))
        return false;
    run->arguments[0] = program;
    if (!run_start(run, program, error))
        return false;
    ended = run_wait(run);
    status = run_reap(run);
    run->said[run->length] = '\0';
    if (find_word(run, "no", line) != NULL)
        return rasad_fail(error, "%s", line);
    return (ended && find_word(run, "ok", line) != NULL) || fail_silent(run, ended, status, error);
}

static void run_end(struct run *run)
{
    close_at(&run->watch);
    close_at(&run->words);
}

bool probe_plugin(const struct plugin *plugin, const char *name, struct rasad_error *error)
{
    const char *arguments[] = {NULL, "probe", name, plugin->path, NULL};
    SCOPED(run_end)
    struct run run = {.arguments = arguments,
                      .plugin = plugin,
                      .watch = -1,
                      .words = -1,
                      .deadline_ns = clock_steady_ns() + PROBE_NS};

    return run_worker(&run, error);
}

bool probe_laws(const struct plugin *plugin, const char *name, const struct probe_laws *laws,
                bool *holds, struct rasad_error *error)
{
    const char *arguments[MOST_ARGUMENTS] = {NULL, "laws", name, plugin->path};
    char seed[32], line[1024];
    SCOPED(run_end)
    struct run run = {.arguments = arguments,
                      .plugin = plugin,
                      .older = laws->older,
                      .speaks = true,
                      .watch = -1,
                      .words = -1,
                      .deadline_ns = clock_steady_ns() + LAWS_NS};

    (void)snprintf(seed, sizeof seed, "%llu", (unsigned long long)laws->seed);
    arguments[4] = seed;
    arguments[5] = laws->json ? "json" : "text";
    arguments[6] = laws->older != NULL ? laws->older->path : "";
    if (laws->setting_count > MOST_ARGUMENTS - 8)
        return rasad_fail(error, "too many options given (at most %d)", MOST_ARGUMENTS - 8);
    for (size_t i = 0; i < laws->setting_count; i++)
        arguments[7 + i] = laws->settings[i];
    if (!run_worker(&run, error))
        return false;
    *holds = strcmp(find_word(&run, "ok", line), "broken") != 0;
    return true;
}
