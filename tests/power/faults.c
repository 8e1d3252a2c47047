/* SPDX-License-Identifier: Apache-2.0 */
/*
 * faults: LD_PRELOADed into a program, it makes chosen calls fail, while the program runs and as a
 * driver wishes (faults.py; the control page is in faults.h).
 *
 *     RASAD_FAULTS=/path/of/page     the control page; without it a private one
 *     RASAD_FAULTS_PROGRAM=rasadd    only in programs of that name (children inherit LD_PRELOAD)
 *     RASAD_FAULTS_RULES=RULE;...    set when the program starts, in the last places of the page:
 *                                    FUNCTION[:KEY=VALUE...], keys first, every, most, error (a
 *                                    number), bytes, delay_us, below, while_file
 *
 * Not reached: what glibc calls inside itself (stdio, but malloc is), and raw system calls. A
 * sanitizer's runtime has its own malloc and wants to be first in LD_PRELOAD; the tests use the
 * release preset only.
 */
#include "faults.h"
#include "next.h"
#include "place.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

static const char *const functions[FAULT_FUNCTIONS] = {
    [FAULT_WRITE] = "write",         [FAULT_PWRITE] = "pwrite",   [FAULT_WRITEV] = "writev",
    [FAULT_PWRITEV] = "pwritev",     [FAULT_FSYNC] = "fsync",     [FAULT_FDATASYNC] = "fdatasync",
    [FAULT_MMAP] = "mmap",           [FAULT_ACCEPT] = "accept",   [FAULT_MALLOC] = "malloc",
    [FAULT_CALLOC] = "calloc",       [FAULT_REALLOC] = "realloc", [FAULT_OPEN] = "open",
    [FAULT_FTRUNCATE] = "ftruncate", [FAULT_RENAME] = "rename",   [FAULT_UNLINK] = "unlink",
    [FAULT_FALLOCATE] = "fallocate", [FAULT_MKDIR] = "mkdir",
};

static struct fault_page *page; /* NULL: none of our business */

HAS_NEXT(write);
HAS_NEXT(pwrite);
HAS_NEXT(writev);
HAS_NEXT(pwritev);
HAS_NEXT(pwritev2);
HAS_NEXT(fsync);
HAS_NEXT(fdatasync);
HAS_NEXT(mmap);
HAS_NEXT(accept4);
HAS_NEXT(openat);
HAS_NEXT(ftruncate);
HAS_NEXT(renameat2);
HAS_NEXT(unlinkat);
HAS_NEXT(fallocate);
HAS_NEXT(posix_fallocate);
HAS_NEXT(mkdirat);

/* ---- Start ---------------------------------------------------------------------------------- */

static _Noreturn void give_up(const char *what)
{
    fprintf(stderr, "faults: %s: %s\n", what, strerror(errno));
    abort();
}

/* Before the page is there, since dlsym() may allocate. */
static void find_all(void)
{
    (void)NEXT(write);
    (void)NEXT(pwrite);
    (void)NEXT(writev);
    (void)NEXT(pwritev);
    (void)NEXT(pwritev2);
    (void)NEXT(fsync);
    (void)NEXT(fdatasync);
    (void)NEXT(mmap);
    (void)NEXT(accept4);
    (void)NEXT(openat);
    (void)NEXT(ftruncate);
    (void)NEXT(renameat2);
    (void)NEXT(unlinkat);
    (void)NEXT(fallocate);
    (void)NEXT(posix_fallocate);
    (void)NEXT(mkdirat);
}

static struct fault_page *map_page(const char *path)
{
    int descriptor =
        path != NULL ? (int)syscall(SYS_openat, AT_FDCWD, path, O_RDWR | O_CLOEXEC) : -1;
    int flags = path != NULL ? MAP_SHARED : MAP_SHARED | MAP_ANONYMOUS;
    struct fault_page *made;

    if (path != NULL && descriptor < 0)
        give_up(path);
    made = NEXT(mmap)(NULL, FAULT_PAGE_BYTES, PROT_READ | PROT_WRITE, flags, descriptor, 0);
    if (made == MAP_FAILED)
        give_up("no page");
    if (descriptor >= 0)
        syscall(SYS_close, descriptor);
    if (path == NULL)
        made->magic = FAULT_MAGIC;
    if (made->magic != FAULT_MAGIC) {
        errno = EINVAL;
        give_up(path);
    }
    return made;
}

static void take_value(struct fault_rule *rule, const char *key, const char *value)
{
    if (strcmp(key, "first") == 0)
        rule->first = strtoull(value, NULL, 10);
    else if (strcmp(key, "every") == 0)
        rule->every = strtoull(value, NULL, 10);
    else if (strcmp(key, "most") == 0)
        rule->most = strtoull(value, NULL, 10);
    else if (strcmp(key, "error") == 0)
        rule->error = (int32_t)strtol(value, NULL, 10);
    else if (strcmp(key, "bytes") == 0)
        rule->bytes = (uint32_t)strtoul(value, NULL, 10);
    else if (strcmp(key, "delay_us") == 0)
        rule->delay_us = (uint32_t)strtoul(value, NULL, 10);
    else if (strcmp(key, "below") == 0)
        snprintf(rule->below, sizeof rule->below, "%s", value);
    else if (strcmp(key, "while_file") == 0)
        snprintf(rule->while_file, sizeof rule->while_file, "%s", value);
    else {
        errno = EINVAL;
        give_up(key);
    }
}

static struct fault_rule parse_rule(char *text)
{
    struct fault_rule rule = {.first = 1, .error = EIO};
    char *rest;
    char *word = strtok_r(text, ":", &rest);

    for (uint32_t i = 1; word != NULL && i < FAULT_FUNCTIONS; i++)
        if (strcmp(word, functions[i]) == 0)
            rule.function = i;
    if (rule.function == 0) {
        errno = EINVAL;
        give_up(text);
    }
    while ((word = strtok_r(NULL, ":", &rest)) != NULL) {
        char *value = strchr(word, '=');

        if (value == NULL) {
            errno = EINVAL;
            give_up(word);
        }
        *value++ = '\0';
        take_value(&rule, word, value);
    }
    rule.on = 1;
    return rule;
}

static void take_rules(struct fault_page *made, const char *text)
{
    static char copy[4096];
    size_t place = FAULT_RULES;
    char *rest;

    snprintf(copy, sizeof copy, "%s", text);
    for (char *rule = strtok_r(copy, ";", &rest); rule != NULL && place > 0;
         rule = strtok_r(NULL, ";", &rest))
        made->rules[--place] = parse_rule(rule);
}

__attribute__((constructor)) static void start(void)
{
    const char *path = getenv("RASAD_FAULTS");
    const char *rules = getenv("RASAD_FAULTS_RULES");
    const char *program = getenv("RASAD_FAULTS_PROGRAM");
    struct fault_page *made;

    if ((path == NULL && rules == NULL) ||
        (program != NULL && strcmp(program, program_invocation_short_name) != 0))
        return;
    find_all();
    made = map_page(path);
    if (rules != NULL)
        take_rules(made, rules);
    __atomic_add_fetch(&made->programs, 1, __ATOMIC_RELAXED);
    page = made;
}

/* ---- Rules ---------------------------------------------------------------------------------- */

/* What a call is about: a descriptor, or a path, or neither. */
struct subject {
    int descriptor; /* or the folder of a relative path */
    const char *path;
};

#define NO_SUBJECT ((struct subject){-1, NULL})

static bool is_time(const struct fault_rule *rule)
{
    const char *file = rule->while_file;
    bool wants = file[0] != '!';

    if (file[0] == '\0')
        return true;
    return (syscall(SYS_faccessat, AT_FDCWD, wants ? file : file + 1, F_OK) == 0) == wants;
}

static bool is_about(const struct fault_rule *rule, struct subject subject)
{
    if (rule->below[0] == '\0')
        return true;
    if (subject.path != NULL)
        return place_path_is_below(subject.descriptor, subject.path, rule->below);
    return subject.descriptor >= 0 && place_is_below(subject.descriptor, rule->below);
}

/* Counts the call, and whether the rule is for it. */
static bool strikes(struct fault_rule *rule, struct subject subject)
{
    uint64_t n;

    if (!is_about(rule, subject) || !is_time(rule))
        return false;
    n = __atomic_add_fetch(&rule->seen, 1, __ATOMIC_RELAXED);
    if (n < rule->first || (rule->every == 0 ? n != rule->first : (n - rule->first) % rule->every))
        return false;
    if (__atomic_add_fetch(&rule->failed, 1, __ATOMIC_RELAXED) > rule->most && rule->most > 0) {
        __atomic_sub_fetch(&rule->failed, 1, __ATOMIC_RELAXED);
        return false;
    }
    return true;
}

static void wait_us(uint32_t us)
{
    struct timespec left = {us / 1000000, us % 1000000 * 1000L};

    while (us > 0 && nanosleep(&left, &left) != 0)
        ;
}

/* Whether the call is to fail, with errno set; *bytes is how much of a write to do instead, or 0.
 */
static bool fails(enum fault_function function, struct subject subject, uint32_t *bytes)
{
    int error = errno;

    *bytes = 0;
    if (page == NULL)
        return false;
    __atomic_add_fetch(&page->calls[function], 1, __ATOMIC_RELAXED);
    for (size_t i = 0; i < FAULT_RULES; i++) {
        struct fault_rule *rule = &page->rules[i];

        if (!__atomic_load_n(&rule->on, __ATOMIC_ACQUIRE) || rule->function != function ||
            !strikes(rule, subject))
            continue;
        wait_us(rule->delay_us);
        *bytes = rule->bytes;
        errno = rule->bytes == 0 && rule->error != 0 ? rule->error : error;
        if (rule->bytes > 0 || rule->error != 0)
            return true;
    }
    errno = error;
    return false;
}

static bool fails_at(enum fault_function function, int descriptor)
{
    uint32_t bytes;

    return fails(function, (struct subject){descriptor, NULL}, &bytes);
}

static bool fails_on(enum fault_function function, int at, const char *path)
{
    uint32_t bytes;

    return fails(function, (struct subject){at, path}, &bytes);
}

/* ---- Writes --------------------------------------------------------------------------------- */

static size_t at_most(size_t length, uint32_t bytes)
{
    return bytes > 0 && bytes < length ? bytes : length;
}

static size_t first_part(const struct iovec *parts, int count, uint32_t bytes)
{
    return count > 0 ? at_most(parts[0].iov_len, bytes) : 0;
}

EXPORT ssize_t write(int descriptor, const void *buffer, size_t length)
{
    uint32_t bytes;

    if (fails(FAULT_WRITE, (struct subject){descriptor, NULL}, &bytes) && bytes == 0)
        return -1;
    return NEXT(write)(descriptor, buffer, at_most(length, bytes));
}

EXPORT ssize_t pwrite(int descriptor, const void *buffer, size_t length, off_t offset)
{
    uint32_t bytes;

    if (fails(FAULT_PWRITE, (struct subject){descriptor, NULL}, &bytes) && bytes == 0)
        return -1;
    return NEXT(pwrite)(descriptor, buffer, at_most(length, bytes), offset);
}

EXPORT ssize_t pwrite64(int descriptor, const void *buffer, size_t length, off_t offset)
    __attribute__((alias("pwrite")));

EXPORT ssize_t writev(int descriptor, const struct iovec *parts, int count)
{
    uint32_t bytes;

    if (!fails(FAULT_WRITEV, (struct subject){descriptor, NULL}, &bytes))
        return NEXT(writev)(descriptor, parts, count);
    if (bytes == 0)
        return -1;
    return NEXT(write)(descriptor, parts[0].iov_base, first_part(parts, count, bytes));
}

EXPORT ssize_t pwritev2(int descriptor, const struct iovec *parts, int count, off_t offset,
                        int flags)
{
    struct iovec part;
    uint32_t bytes;

    if (!fails(FAULT_PWRITEV, (struct subject){descriptor, NULL}, &bytes))
        return NEXT(pwritev2)(descriptor, parts, count, offset, flags);
    if (bytes == 0)
        return -1;
    part = (struct iovec){parts[0].iov_base, first_part(parts, count, bytes)};
    return NEXT(pwritev2)(descriptor, &part, 1, offset, flags);
}

EXPORT ssize_t pwritev64v2(int descriptor, const struct iovec *parts, int count, off_t offset,
                           int flags) __attribute__((alias("pwritev2")));

EXPORT ssize_t pwritev(int descriptor, const struct iovec *parts, int count, off_t offset)
{
    struct iovec part;
    uint32_t bytes;

    if (!fails(FAULT_PWRITEV, (struct subject){descriptor, NULL}, &bytes))
        return NEXT(pwritev)(descriptor, parts, count, offset);
    if (bytes == 0)
        return -1;
    part = (struct iovec){parts[0].iov_base, first_part(parts, count, bytes)};
    return NEXT(pwritev)(descriptor, &part, 1, offset);
}

EXPORT ssize_t pwritev64(int descriptor, const struct iovec *parts, int count, off_t offset)
    __attribute__((alias("pwritev")));

/* ---- Descriptors ---------------------------------------------------------------------------- */

EXPORT int fsync(int descriptor)
{
    return fails_at(FAULT_FSYNC, descriptor) ? -1 : NEXT(fsync)(descriptor);
}

EXPORT int fdatasync(int descriptor)
{
    return fails_at(FAULT_FDATASYNC, descriptor) ? -1 : NEXT(fdatasync)(descriptor);
}

EXPORT int ftruncate(int descriptor, off_t size)
{
    return fails_at(FAULT_FTRUNCATE, descriptor) ? -1 : NEXT(ftruncate)(descriptor, size);
}

EXPORT int ftruncate64(int descriptor, off_t size) __attribute__((alias("ftruncate")));

EXPORT int fallocate(int descriptor, int mode, off_t offset, off_t length)
{
    return fails_at(FAULT_FALLOCATE, descriptor)
               ? -1
               : NEXT(fallocate)(descriptor, mode, offset, length);
}

EXPORT int fallocate64(int descriptor, int mode, off_t offset, off_t length)
    __attribute__((alias("fallocate")));

EXPORT int posix_fallocate(int descriptor, off_t offset, off_t length)
{
    return fails_at(FAULT_FALLOCATE, descriptor)
               ? errno
               : NEXT(posix_fallocate)(descriptor, offset, length);
}

EXPORT int posix_fallocate64(int descriptor, off_t offset, off_t length)
    __attribute__((alias("posix_fallocate")));

EXPORT void *mmap(void *address, size_t length, int protection, int flags, int descriptor,
                  off_t offset)
{
    if (fails_at(FAULT_MMAP, descriptor))
        return MAP_FAILED;
    return NEXT(mmap)(address, length, protection, flags, descriptor, offset);
}

EXPORT void *mmap64(void *address, size_t length, int protection, int flags, int descriptor,
                    off_t offset) __attribute__((alias("mmap")));

EXPORT int accept4(int descriptor, __SOCKADDR_ARG address, socklen_t *restrict length, int flags)
{
    return fails_at(FAULT_ACCEPT, descriptor) ? -1
                                              : NEXT(accept4)(descriptor, address, length, flags);
}

EXPORT int accept(int descriptor, __SOCKADDR_ARG address, socklen_t *restrict length)
{
    return accept4(descriptor, address, length, 0);
}

/* ---- Paths ---------------------------------------------------------------------------------- */

static int open_any(int at, const char *path, int flags, mode_t mode)
{
    return fails_on(FAULT_OPEN, at, path) ? -1 : NEXT(openat)(at, path, flags, mode);
}

#define MODE_OF(flags)                                                                             \
    mode_t mode = 0;                                                                               \
    if (((flags)&O_CREAT) != 0 || ((flags)&O_TMPFILE) == O_TMPFILE) {                              \
        va_list rest;                                                                              \
        va_start(rest, flags);                                                                     \
        mode = va_arg(rest, mode_t);                                                               \
        va_end(rest);                                                                              \
    }

EXPORT int open(const char *path, int flags, ...)
{
    MODE_OF(flags)
    return open_any(AT_FDCWD, path, flags, mode);
}

EXPORT int open64(const char *path, int flags, ...) __attribute__((alias("open")));

EXPORT int openat(int at, const char *path, int flags, ...)
{
    MODE_OF(flags)
    return open_any(at, path, flags, mode);
}

EXPORT int openat64(int at, const char *path, int flags, ...) __attribute__((alias("openat")));

/* What _FORTIFY_SOURCE makes of open() without a mode. */
EXPORT int __open_2(const char *path, int flags);
EXPORT int __open_2(const char *path, int flags)
{
    return open_any(AT_FDCWD, path, flags, 0);
}

EXPORT int __open64_2(const char *path, int flags) __attribute__((alias("__open_2")));

EXPORT int __openat_2(int at, const char *path, int flags);
EXPORT int __openat_2(int at, const char *path, int flags)
{
    return open_any(at, path, flags, 0);
}

EXPORT int __openat64_2(int at, const char *path, int flags) __attribute__((alias("__openat_2")));

EXPORT int creat(const char *path, mode_t mode)
{
    return open_any(AT_FDCWD, path, O_CREAT | O_WRONLY | O_TRUNC, mode);
}

EXPORT int creat64(const char *path, mode_t mode) __attribute__((alias("creat")));

/* The new name counts. */
EXPORT int renameat2(int old_at, const char *old_path, int new_at, const char *new_path,
                     unsigned flags)
{
    return fails_on(FAULT_RENAME, new_at, new_path)
               ? -1
               : NEXT(renameat2)(old_at, old_path, new_at, new_path, flags);
}

EXPORT int renameat(int old_at, const char *old_path, int new_at, const char *new_path)
{
    return renameat2(old_at, old_path, new_at, new_path, 0);
}

EXPORT int rename(const char *old_path, const char *new_path)
{
    return renameat2(AT_FDCWD, old_path, AT_FDCWD, new_path, 0);
}

EXPORT int unlinkat(int at, const char *path, int flags)
{
    return fails_on(FAULT_UNLINK, at, path) ? -1 : NEXT(unlinkat)(at, path, flags);
}

EXPORT int unlink(const char *path)
{
    return unlinkat(AT_FDCWD, path, 0);
}

EXPORT int mkdirat(int at, const char *path, mode_t mode)
{
    return fails_on(FAULT_MKDIR, at, path) ? -1 : NEXT(mkdirat)(at, path, mode);
}

EXPORT int mkdir(const char *path, mode_t mode)
{
    return mkdirat(AT_FDCWD, path, mode);
}

/* ---- Memory --------------------------------------------------------------------------------- */

/* dlsym() would allocate; these are glibc's own, of the same heap. */
void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *old, size_t size);

static bool memory_fails(enum fault_function function)
{
    uint32_t bytes;

    return page != NULL && fails(function, NO_SUBJECT, &bytes);
}

EXPORT void *malloc(size_t size)
{
    return memory_fails(FAULT_MALLOC) ? NULL : __libc_malloc(size);
}

EXPORT void *calloc(size_t count, size_t size)
{
    return memory_fails(FAULT_CALLOC) ? NULL : __libc_calloc(count, size);
}

EXPORT void *realloc(void *old, size_t size)
{
    return memory_fails(FAULT_REALLOC) ? NULL : __libc_realloc(old, size);
}
