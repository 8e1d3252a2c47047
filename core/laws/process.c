/* SPDX-License-Identifier: Apache-2.0 */
#include "laws/process.h"

#include <errno.h>
#include <poll.h>
#include <seccomp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/scoped.h"
#include "laws/laws.h"

void process_clear(struct slate *slate)
{
    slate->outcome = LAW_RUNS;
    slate->call = CALL_NONE;
    slate->cases = 0;
    slate->detail[0] = '\0';
    slate->hung = false;
    slate->signal = 0;
    slate->system_call = 0;
    slate->function = NULL;
    slate->place = PLACE_UNKNOWN;
    slate->address = 0;
    slate->migrated = 0;
}

const char *laws_call_name(enum law_call call)
{
    static const char *const names[] = {"the plugin", "configure()", "state_size()",   "init()",
                                        "update()",   "merge()",     "render()",       "migrate()",
                                        "verify()",   "release()",   "the older build"};

    return names[call];
}

/* What a fault means, by where it was. */
static void explain_fault(struct slate *slate, const char *who)
{
    unsigned long long address = slate->address;
    size_t room = sizeof slate->detail;

    switch (slate->place) {
    case PLACE_BEFORE:
    case PLACE_BEHIND:
        (void)snprintf(slate->detail, room, "%s touches the memory %llu byte(s) %s its block", who,
                       address, slate->place == PLACE_BEFORE ? "before" : "behind");
        return;
    case PLACE_LENT:
        (void)snprintf(slate->detail, room, "%s writes to what it may only read", who);
        return;
    case PLACE_GLOBAL:
        (void)snprintf(slate->detail, room, "%s writes to a global (at 0x%llx of the file's image)",
                       who, address);
        return;
    default:
        (void)snprintf(slate->detail, room, "%s crashes (SIG%s at address 0x%llx)", who,
                       sigabbrev_np(slate->signal), address);
    }
}

static void explain_call(struct slate *slate, const char *who)
{
    SCOPED(free_at)
    char *name = seccomp_syscall_resolve_num_arch(SCMP_ARCH_NATIVE, slate->system_call);

    (void)snprintf(slate->detail, sizeof slate->detail, "%s makes the system call %s", who,
                   name != NULL ? name : "of an unknown number");
}

/* Says how the process ended that had no time to say so itself. */
static void explain(struct slate *slate, int status, bool hung, int64_t limit_ns)
{
    const char *who = laws_call_name(slate->call);
    size_t room = sizeof slate->detail;

    slate->outcome = LAW_BROKEN;
    slate->hung = hung;
    if (hung)
        (void)snprintf(slate->detail, room, "%s does not come to its end within %.3g s", who,
                       (double)limit_ns / 1e9);
    else if (slate->function != NULL)
        (void)snprintf(slate->detail, room, "%s calls %s()", who, slate->function);
    else if (slate->signal == SIGSYS)
        explain_call(slate, who);
    else if (WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS)
        (void)snprintf(slate->detail, room,
                       "%s makes a system call with its signals blocked, as who starts a thread",
                       who);
    else if (slate->signal == SIGSEGV || slate->signal == SIGBUS)
        explain_fault(slate, who);
    else if (slate->signal != 0 || WIFSIGNALED(status))
        (void)snprintf(slate->detail, room, "%s crashes (SIG%s)", who,
                       sigabbrev_np(slate->signal != 0 ? slate->signal : WTERMSIG(status)));
    else
        (void)snprintf(slate->detail, room, "%s ends the process (exit code %d)", who,
                       WEXITSTATUS(status));
}

/* Waits for the end of the process; false if it was ended at the deadline. */
static bool wait_for(int watch, pid_t pid, int64_t deadline_ns, int *status)
{
    struct pollfd polled = {.fd = watch, .events = POLLIN};
    bool ended = false;

    for (;;) {
        int64_t left_ns = deadline_ns - clock_steady_ns();
        int ready = left_ns > 0 ? poll(&polled, 1, (int)(left_ns / NS_PER_MS) + 1) : 0;

        ended = ready > 0;
        if (ready >= 0 ? ready > 0 || left_ns <= 0 : errno != EINTR)
            break;
    }
    if (!ended)
        (void)kill(pid, SIGKILL);
    while (waitpid(pid, status, 0) < 0 && errno == EINTR)
        continue;
    return ended;
}

bool process_run(struct slate *slate, int64_t limit_ns, void (*work)(void *context), void *context,
                 struct rasad_error *error)
{
    int64_t deadline_ns = clock_steady_ns() + limit_ns;
    pid_t parent = getpid(), pid;
    int status = 0;
    bool ended;

    process_clear(slate);
    if ((pid = fork()) < 0)
        return rasad_fail(error, "cannot start a process: %s", strerror(errno));
    if (pid == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != parent)
            _exit(EXIT_FAILURE); /* it ended before we could ask for that */
        work(context);
        _exit(EXIT_FAILURE);
    }
    SCOPED(close_at) int watch = (int)syscall(SYS_pidfd_open, pid, 0);
    if (watch < 0) {
        int failed = errno;

        (void)wait_for(-1, pid, 0, &status);
        return rasad_fail(error, "cannot watch a process: %s", strerror(failed));
    }
    ended = wait_for(watch, pid, deadline_ns, &status);
    if (slate->outcome == LAW_RUNS)
        explain(slate, status, !ended, limit_ns);
    return true;
}
