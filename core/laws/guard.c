/* SPDX-License-Identifier: Apache-2.0 */
#include "laws/guard.h"

#include <dlfcn.h>
#include <errno.h>
#include <link.h>
#include <seccomp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "laws/sanitized.h"

#define COUNT(array) (sizeof(array) / sizeof *(array))

/* A signal handler gets no argument of ours. */
static struct guard *watching;

/* Where a fault's address is, on the slate. */
static void find_place(const struct guard *guard, const char *address)
{
    struct slate *slate = guard->slate;

    slate->address = (uintptr_t)address;
    for (size_t i = 0; i < guard->count; i++) {
        const struct guard_range *range = &guard->ranges[i];

        if (address < range->start || address >= range->end)
            continue;
        slate->place = range->place;
        if (range->place == PLACE_GLOBAL) {
            slate->address = (uint64_t)(address - range->block);
        } else if (range->place == PLACE_UNKNOWN) {
            bool before = address < range->block;

            slate->place = before ? PLACE_BEFORE : PLACE_BEHIND;
            slate->address =
                (uint64_t)(before ? range->block - address : address - range->block_end + 1);
        }
        return;
    }
}

/* Not for a sanitizer to instrument, which would open files here to learn of the stack. */
static __attribute__((no_sanitize("address"))) void on_signal(int number, siginfo_t *info,
                                                              void *unused)
{
    struct slate *slate = watching->slate;

    slate->signal = number;
    if (number == SIGSYS)
        slate->system_call = info->si_syscall;
    else if (number == SIGSEGV || number == SIGBUS)
        find_place(watching, info->si_addr);
    _exit(EXIT_FAILURE);
}

void guard_signals(struct guard *guard)
{
    static const int numbers[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGTRAP, SIGSYS};
    static char stack[1 << 16]; /* its own may be what overflowed */
    struct sigaction action = {.sa_sigaction = on_signal, .sa_flags = SA_SIGINFO | SA_ONSTACK};

    watching = guard;
    (void)sigaltstack(&(stack_t){.ss_sp = stack, .ss_size = sizeof stack}, NULL);
    (void)sigemptyset(&action.sa_mask);
    for (size_t i = 0; i < COUNT(numbers); i++)
        (void)sigaction(numbers[i], &action, NULL);
}

void guard_add(struct guard *guard, struct guard_range range)
{
    if (guard->count < GUARD_RANGES)
        guard->ranges[guard->count++] = range;
}

/* What guard_globals() looks for. */
struct search {
    struct guard *guard;
    const struct link_map *map;
    bool fine;
};

static int protect(struct dl_phdr_info *info, size_t size, void *data)
{
    struct search *search = data;
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);

    if (info->dlpi_addr != search->map->l_addr || strcmp(info->dlpi_name, search->map->l_name) != 0)
        return 0;
    search->fine = true;
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *segment = &info->dlpi_phdr[i];
        uintptr_t start = (info->dlpi_addr + segment->p_vaddr) / page * page;
        uintptr_t end = info->dlpi_addr + segment->p_vaddr + segment->p_memsz;

        end = (end + page - 1) / page * page;
        if (segment->p_type == PT_TLS)
            search->fine = false;
        if (segment->p_type != PT_LOAD || (segment->p_flags & PF_W) == 0)
            continue;
        search->fine &= mprotect((void *)start, end - start, PROT_READ) == 0;
        guard_add(search->guard, (struct guard_range){.start = (const char *)start,
                                                      .end = (const char *)end,
                                                      .block = (const char *)info->dlpi_addr,
                                                      .place = PLACE_GLOBAL});
    }
    return 1;
}

bool guard_globals(struct guard *guard, const struct module *module)
{
    struct search search = {.guard = guard};

    if (dlinfo(module->handle, RTLD_DI_LINKMAP, &search.map) != 0)
        return false;
    (void)dl_iterate_phdr(protect, &search);
    return search.fine;
}

/* With a sanitizer, which makes calls of its own at any time: what a plugin would. */
static int deny_some(scmp_filter_ctx filter)
{
    static const int denied[] = {
        SCMP_SYS(open),   SCMP_SYS(openat),       SCMP_SYS(openat2),   SCMP_SYS(creat),
        SCMP_SYS(socket), SCMP_SYS(pipe2),        SCMP_SYS(clone),     SCMP_SYS(clone3),
        SCMP_SYS(fork),   SCMP_SYS(vfork),        SCMP_SYS(execve),    SCMP_SYS(unlink),
        SCMP_SYS(rename), SCMP_SYS(kill),         SCMP_SYS(nanosleep), SCMP_SYS(clock_nanosleep),
        SCMP_SYS(time),   SCMP_SYS(gettimeofday), SCMP_SYS(getrandom), SCMP_SYS(memfd_create),
        SCMP_SYS(poll),   SCMP_SYS(select),
    };
    int failed = 0;

    for (size_t i = 0; i < COUNT(denied) && failed == 0; i++)
        failed = seccomp_rule_add(filter, SCMP_ACT_TRAP, denied[i], 0);
    return failed;
}

/* The ends of a process: its own, and abort()'s, which is to be seen as such. And the clock, which
 * we read ourselves; that a plugin does, its imports tell. */
static int allow_ends(scmp_filter_ctx filter)
{
    static const int allowed[] = {
        SCMP_SYS(exit_group),     SCMP_SYS(exit),         SCMP_SYS(rt_sigreturn),
        SCMP_SYS(rt_sigprocmask), SCMP_SYS(gettid),       SCMP_SYS(getpid),
        SCMP_SYS(tgkill),         SCMP_SYS(rt_sigaction), SCMP_SYS(clock_gettime),
    };
    int failed = 0;

    for (size_t i = 0; i < COUNT(allowed) && failed == 0; i++)
        failed = seccomp_rule_add(filter, SCMP_ACT_ALLOW, allowed[i], 0);
    return failed;
}

bool guard_calls(void)
{
    scmp_filter_ctx filter = seccomp_init(LAWS_SANITIZED ? SCMP_ACT_ALLOW : SCMP_ACT_TRAP);
    int failed;

    if (filter == NULL) {
        errno = ENOMEM;
        return false;
    }
    failed = LAWS_SANITIZED ? deny_some(filter) : allow_ends(filter);
    if (failed == 0)
        failed = seccomp_load(filter);
    if (failed != 0 || LAWS_SANITIZED)
        seccomp_release(filter); /* else its memory could not be given back any more */
    errno = -failed;
    return failed == 0;
}

void guard_heap_found(const char *function)
{
    watching->slate->function = function;
    _exit(EXIT_FAILURE);
}
