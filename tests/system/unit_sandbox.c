/* SPDX-License-Identifier: Apache-2.0 */
/*
 * unit_sandbox PROGRAM...: runs it with what a hardened unit takes away, as far as that can be had
 * without a service manager: SystemCallFilter=@system-service and ~@privileged @resources with
 * SystemCallErrorNumber=EPERM, NoNewPrivileges, and MemoryDenyWriteExecute.
 */
#include <errno.h>
#include <seccomp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

static const char *const denied[] = {
    /* @resources */
    "ioprio_set", "mbind", "migrate_pages", "move_pages", "nice", "sched_setaffinity",
    "sched_setattr", "sched_setparam", "sched_setscheduler", "set_mempolicy", "setpriority",
    "setrlimit",
    /* Not in @system-service, or in @privileged: those that a server might think of. */
    "seccomp", "unshare", "setns", "mount", "umount2", "ptrace", "bpf", "chroot", "pivot_root",
    "setuid", "setgid", "setresuid", "setresgid", "chown", "fchown", "fchownat", "lchown", "acct",
    "perf_event_open", "userfaultfd"};

static int deny(scmp_filter_ctx filter)
{
    int failed = 0;

    for (size_t i = 0; i < sizeof denied / sizeof *denied; i++)
        failed |= seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM),
                                   seccomp_syscall_resolve_name(denied[i]), 0);
    failed |= seccomp_rule_add(
        filter, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(mmap), 1,
        SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC | PROT_WRITE, PROT_EXEC | PROT_WRITE));
    failed |= seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(mprotect), 1,
                               SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, PROT_EXEC));
    failed |= seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(shmat), 1,
                               SCMP_A2(SCMP_CMP_MASKED_EQ, 0100000, 0100000)); /* SHM_EXEC */
    return failed;
}

int main(int argc, char *argv[])
{
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);

    if (argc < 2 || filter == NULL || deny(filter) != 0 ||
        prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || seccomp_load(filter) != 0) {
        perror("unit_sandbox");
        return EXIT_FAILURE;
    }
    seccomp_release(filter);
    (void)execv(argv[1], argv + 1);
    perror(argv[1]);
    return EXIT_FAILURE;
}
