/* SPDX-License-Identifier: Apache-2.0 */
#include "handover/program.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/scoped.h"
#include "isolate/keeper.h"

/* The descriptor at which a program that is checked finds the handover. */
enum { CHECKED_FD = 3 };

/* What is read of what it says. */
#define MOST_SAID (64 << 10)

/* How often to look whether the server stops. */
#define LOOK_MS 100

/* ---- Which one ----------------------------------------------------------------------------- */

/* Whether both lead to the same file. */
static bool is_same_file(const char *a, const char *b)
{
    struct stat at_a, at_b;

    return stat(a, &at_a) == 0 && stat(b, &at_b) == 0 && at_a.st_dev == at_b.st_dev &&
           at_a.st_ino == at_b.st_ino;
}

/* The path that we were called by, which stays right when a symbolic link on it is turned to the
 * next version; false if it doesn't lead to us. */
static bool take_called(const char *called, char path[PATH_MAX])
{
    char folder[PATH_MAX] = "";
    int length;

    if (called == NULL || strchr(called, '/') == NULL)
        return false;
    if (called[0] != '/' && getcwd(folder, sizeof folder) == NULL)
        return false;
    length = snprintf(path, PATH_MAX, "%s%s%s", folder, called[0] != '/' ? "/" : "", called);
    return length < PATH_MAX && is_same_file(path, "/proc/self/exe");
}

static bool take_own(char path[PATH_MAX], struct rasad_error *error)
{
    ssize_t length = readlink("/proc/self/exe", path, PATH_MAX - 1);

    if (length < 0)
        return rasad_fail(error, "cannot find our own program: %s (is /proc mounted?)",
                          strerror(errno));
    path[length] = '\0';
    return true;
}

bool program_find(int argc, char *argv[], struct program *program, struct rasad_error *error)
{
    *program = (struct program){.count = 0};
    if (!take_called(argv[0], program->path) && !take_own(program->path, error))
        return false;
    program->arguments = calloc((size_t)argc + 1, sizeof *program->arguments);
    if (program->arguments == NULL)
        return rasad_fail_memory(error);
    for (int i = 0; i < argc; i++) {
        if (i != 1 || strncmp(argv[i], PROGRAM_HANDOVER, strlen(PROGRAM_HANDOVER)) != 0)
            program->arguments[program->count++] = argv[i];
    }
    return true;
}

void program_free(struct program *program)
{
    free(program->arguments);
    program->arguments = NULL;
}

/* Our arguments with another one in the first place; the caller frees the list. */
static char **with_first(const struct program *program, char *first)
{
    char **list = calloc((size_t)program->count + 2, sizeof *list);

    if (list == NULL)
        return NULL;
    list[0] = program->count > 0 ? program->arguments[0] : (char *)(uintptr_t)program->path;
    list[1] = first;
    for (int i = 1; i < program->count; i++)
        list[i + 1] = program->arguments[i];
    return list;
}

/* ---- The check ----------------------------------------------------------------------------- */

/* A child that is checked. */
struct check {
    pid_t pid;
    int words; /* our end of the pipe that it speaks into */
    struct text said;
};

/* It has its words, its memory, and nothing else of ours. */
static int set_files(posix_spawn_file_actions_t *actions, int words, int memory)
{
    int why = posix_spawn_file_actions_addopen(actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);

    if (why == 0)
        why = posix_spawn_file_actions_adddup2(actions, words, STDOUT_FILENO);
    if (why == 0)
        why = posix_spawn_file_actions_adddup2(actions, words, STDERR_FILENO);
    if (why == 0)
        why = posix_spawn_file_actions_adddup2(actions, memory, CHECKED_FD);
    if (why == 0)
        why = posix_spawn_file_actions_addclosefrom_np(actions, CHECKED_FD + 1);
    return why;
}

/* A process group of its own, in which signals do what they do by themselves. */
static int set_signals(posix_spawnattr_t *attributes)
{
    sigset_t none, all;
    int why = posix_spawnattr_setflags(attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF |
                                                       POSIX_SPAWN_SETPGROUP);

    (void)sigemptyset(&none);
    (void)sigfillset(&all);
    if (why == 0)
        why = posix_spawnattr_setsigmask(attributes, &none);
    return why != 0 ? why : posix_spawnattr_setsigdefault(attributes, &all);
}

static int spawn(const char *path, char **arguments, int words, int memory, pid_t *pid)
{
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    int why;

    if ((why = posix_spawn_file_actions_init(&actions)) != 0)
        return why;
    if ((why = posix_spawnattr_init(&attributes)) == 0) {
        why = set_files(&actions, words, memory);
        if (why == 0)
            why = set_signals(&attributes);
        if (why == 0)
            why = posix_spawn(pid, path, &actions, &attributes, arguments, environ);
        (void)posix_spawnattr_destroy(&attributes);
    }
    (void)posix_spawn_file_actions_destroy(&actions);
    return why;
}

/* Starts it; our copies of what it gets lie above what it has, so that none is written over. */
static bool start(struct check *check, const struct program *program, int memory,
                  struct rasad_error *error)
{
    char option[] = PROGRAM_CHECK "3";
    SCOPED(free_at) char **arguments = with_first(program, option);
    int ends[2], why;

    if (arguments == NULL)
        return rasad_fail_memory(error);
    if (pipe2(ends, O_CLOEXEC) != 0)
        return rasad_fail(error, "cannot make a pipe: %s", strerror(errno));
    check->words = ends[0];
    SCOPED(close_at) int written = ends[1];
    SCOPED(close_at) int words = fcntl(written, F_DUPFD_CLOEXEC, CHECKED_FD + 1);
    SCOPED(close_at) int lifted = fcntl(memory, F_DUPFD_CLOEXEC, CHECKED_FD + 1);

    if (words < 0 || lifted < 0)
        return rasad_fail(error, "cannot copy a descriptor: %s", strerror(errno));
    why = spawn(program->path, arguments, words, lifted, &check->pid);
    return why == 0 || rasad_fail(error, "cannot start %s: %s", program->path, strerror(why));
}

/* Reads what is there; false once nothing more can come. */
static bool listen_to(struct check *check)
{
    char bytes[4096];
    ssize_t got = read(check->words, bytes, sizeof bytes);

    if (got < 0)
        return errno == EINTR;
    if (got > 0 && check->said.length < MOST_SAID)
        text_add(&check->said, bytes, (size_t)got);
    return got > 0;
}

/* Until it has closed its words, which it does by ending. False, with a reason, if it takes too
 * long or the server stops. */
static bool hear_out(struct check *check, const _Atomic bool *stopping, struct rasad_error *error)
{
    int64_t deadline_ns = clock_steady_ns() + PROGRAM_CHECK_S * NS_PER_S;
    struct pollfd polled = {.fd = check->words, .events = POLLIN};

    for (;;) {
        if (clock_steady_ns() >= deadline_ns)
            return rasad_fail(error, "the new program does not answer within %d s",
                              PROGRAM_CHECK_S);
        if (atomic_load(stopping))
            return rasad_fail(error, "the server stops");
        if (poll(&polled, 1, LOOK_MS) > 0 && !listen_to(check))
            return true;
    }
}

/* How it ended; what is still there when it said its last word, or is late, is killed. */
static int reap(const struct check *check, bool heard)
{
    SCOPED(close_at) int process = pidfd_open(check->pid, 0);
    int status = 0;

    if (!heard)
        (void)kill(-check->pid, SIGKILL); /* those that it started, too */
    if (process >= 0)
        return keeper_reap(process, clock_steady_ns() + (heard ? NS_PER_S : 0));
    (void)kill(check->pid, SIGKILL);
    while (waitpid(check->pid, &status, 0) < 0 && errno == EINTR)
        continue;
    return status;
}

/* What it said, as far as it is for people, and each line by itself; else how it ended. */
static void report_end(const struct check *check, int status, struct text *report)
{
    size_t before = report->length;

    for (size_t at = 0; at < check->said.length;) {
        const char *line = check->said.at + at;
        const char *end = memchr(line, '\n', check->said.length - at);
        size_t length = end != NULL ? (size_t)(end - line) : check->said.length - at;

        if (length > 0) {
            text_add_visible(report, line, length);
            text_add_char(report, '\n');
        }
        at += length + 1;
    }
    if (report->length > before)
        return;
    if (WIFSIGNALED(status))
        text_printf(report, "the new program is ended by SIG%s while it is checked\n",
                    sigabbrev_np(WTERMSIG(status)));
    else
        text_printf(report, "the new program says nothing and ends with %d while it is checked\n",
                    WEXITSTATUS(status));
}

static bool judge(const struct check *check, int status, int *code, struct text *report)
{
    size_t length = strlen(PROGRAM_ANSWER);

    if (WIFEXITED(status) && WEXITSTATUS(status) == 0 && check->said.length > length &&
        memcmp(check->said.at, PROGRAM_ANSWER, length) == 0)
        return true;
    *code = WIFEXITED(status) && WEXITSTATUS(status) == EX_CONFIG ? EX_CONFIG : EXIT_FAILURE;
    report_end(check, status, report);
    return false;
}

static void check_end(struct check *check)
{
    close_at(&check->words);
    text_free(&check->said);
}

bool program_check(const struct program *program, int memory, const _Atomic bool *stopping,
                   int *code, struct text *report)
{
    SCOPED(check_end) struct check check = {.words = -1};
    struct rasad_error error = {""};
    bool heard;
    int status;

    *code = EXIT_FAILURE;
    if (!start(&check, program, memory, &error)) {
        text_printf(report, "%s\n", error.text);
        return false;
    }
    heard = hear_out(&check, stopping, &error);
    status = reap(&check, heard);
    if (heard)
        return judge(&check, status, code, report);
    text_printf(report, "%s\n", error.text);
    return false;
}

/* ---- The exec ------------------------------------------------------------------------------ */

void program_become(const struct program *program, int memory, struct rasad_error *error)
{
    char option[sizeof PROGRAM_HANDOVER + 16];
    SCOPED(free_at) char **arguments = NULL;

    (void)snprintf(option, sizeof option, PROGRAM_HANDOVER "%d", memory);
    arguments = with_first(program, option);
    if (arguments == NULL) {
        (void)rasad_fail_memory(error);
        return;
    }
    (void)execve(program->path, arguments, environ);
    (void)rasad_fail(error, "cannot start %s: %s", program->path, strerror(errno));
}
