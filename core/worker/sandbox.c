/* SPDX-License-Identifier: Apache-2.0 */
#include "sandbox.h"

#include <seccomp.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "laws/sanitized.h"

/* Memory of one process, with what it maps. */
#define MOST_MEMORY (UINT64_C(1) << 30)

/* Descriptors while a plugin is loaded. */
#define MOST_DESCRIPTORS 32

static bool limit(__rlimit_resource_t what, rlim_t most)
{
    const struct rlimit wanted = {.rlim_cur = most, .rlim_max = most};

    return setrlimit(what, &wanted) == 0;
}

uint32_t sandbox_begin(void)
{
    uint32_t missing = 0;

    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
        missing |= SANDBOX_PRIVILEGES;
    if (!limit(RLIMIT_CORE, 0) || !limit(RLIMIT_NOFILE, MOST_DESCRIPTORS) ||
        (!LAWS_SANITIZED && !limit(RLIMIT_AS, MOST_MEMORY)))
        missing |= SANDBOX_LIMITS;
    return missing;
}

/* A plugin's mistakes end in a signal that tells what it was. */
static void forget_handlers(void)
{
    static const int fatal[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGSYS, SIGCHLD};

    for (size_t i = 0; i < sizeof fatal / sizeof *fatal; i++)
        (void)signal(fatal[i], SIG_DFL);
}

/* What libc needs for arithmetic, for malloc and for abort(). */
static bool allow_calls(scmp_filter_ctx filter)
{
    static const int calls[] = {
        SCMP_SYS(futex),           SCMP_SYS(exit),         SCMP_SYS(exit_group),
        SCMP_SYS(rt_sigreturn),    SCMP_SYS(rt_sigaction), SCMP_SYS(rt_sigprocmask),
        SCMP_SYS(restart_syscall), SCMP_SYS(brk),          SCMP_SYS(munmap),
        SCMP_SYS(mremap),          SCMP_SYS(getpid),       SCMP_SYS(gettid),
        SCMP_SYS(clock_gettime),   SCMP_SYS(gettimeofday),
    };

    for (size_t i = 0; i < sizeof calls / sizeof *calls; i++) {
        if (seccomp_rule_add(filter, SCMP_ACT_ALLOW, calls[i], 0) != 0)
            return false;
    }
    return seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(tgkill), 2,
                            SCMP_A0(SCMP_CMP_EQ, (scmp_datum_t)getpid(), 0),
                            SCMP_A2(SCMP_CMP_EQ, SIGABRT, 0)) == 0 &&
           seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(write), 1,
                            SCMP_A0(SCMP_CMP_EQ, STDERR_FILENO, 0)) == 0 &&
           seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(writev), 1,
                            SCMP_A0(SCMP_CMP_EQ, STDERR_FILENO, 0)) == 0 &&
           seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(mmap), 2,
                            SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0),
                            SCMP_A3(SCMP_CMP_MASKED_EQ, MAP_ANONYMOUS, MAP_ANONYMOUS)) == 0;
}

/* Where the server's own sandbox has no seccomp(2), which a unit's SystemCallFilter=@system-service
 * leaves out, a filter is set by prctl(2), and the library can't make sure that a whole process can
 * be killed; ours has one thread. */
static scmp_filter_ctx make_filter(void)
{
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_KILL_PROCESS);

    return filter != NULL ? filter : seccomp_init(SCMP_ACT_KILL_THREAD);
}

static bool filter_calls(void)
{
    scmp_filter_ctx filter = make_filter();
    bool fine = filter != NULL && allow_calls(filter) && seccomp_load(filter) == 0;

    if (filter != NULL)
        seccomp_release(filter);
    return fine;
}

uint32_t sandbox_close(void)
{
    uint32_t missing = 0;

    forget_handlers();
    if (close_range(STDERR_FILENO + 1, ~0U, 0) != 0 || !limit(RLIMIT_NPROC, 0) ||
        (!LAWS_SANITIZED && !limit(RLIMIT_NOFILE, 0)))
        missing |= SANDBOX_LIMITS;
    (void)close(STDIN_FILENO);
    (void)close(STDOUT_FILENO);
    if (!LAWS_SANITIZED && !filter_calls())
        missing |= SANDBOX_CALLS;
    return missing;
}
