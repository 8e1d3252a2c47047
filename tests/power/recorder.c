/* SPDX-License-Identifier: Apache-2.0 */
/*
 * recorder: LD_PRELOADed into a program, it writes down every change that the program makes to
 * files below a folder, for images to show what a power cut would have left.
 *
 *     RASAD_RECORD=/elsewhere/log        where to (appended; must not lie in the folder)
 *     RASAD_RECORD_FOLDER=/the/folder    what to watch; must exist
 *     RASAD_RECORD_PROGRAM=rasadd        only in programs of that name (children inherit
 * LD_PRELOAD)
 *
 * The program may call rasad_record_note("acknowledged 1234"), found by dlsym(); others append a
 * note to the log (power.py, images --note).
 *
 * A process that starts while no other records into the log begins with a snapshot of the folder.
 * The first one is what the disk held; later ones heal what a SIGKILL between a call and its entry
 * has left out.
 *
 * Not seen: what glibc does inside (stdio; fopen for writing is noted as odd), raw system calls,
 * io_uring, and stores into mappings (noted). `images --live` tells whether anything was missed.
 * A sanitizer's runtime wants to be first in LD_PRELOAD; the tests use the release preset only.
 */
#include "log.h"
#include "next.h"
#include "place.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

static bool active;
static char log_path[PATH_MAX];
static int log_descriptor = -1;
static struct stat log_status;
static _Atomic(uint64_t) syncs;

/* Held over a change and its entry, so that the log has the order of what happened. Not over
 * syncs, which may take long and have two entries. */
static pthread_mutex_t order = PTHREAD_MUTEX_INITIALIZER;

static _Noreturn void give_up(const char *what)
{
    fprintf(stderr, "recorder: %s: %s\n", what, strerror(errno));
    abort(); /* a recording with holes would prove nothing */
}

/* ---- The log -------------------------------------------------------------------------------- */

static void open_log(void)
{
    int low = (int)syscall(SYS_openat, AT_FDCWD, log_path,
                           O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);

    if (low < 0)
        give_up(log_path);
    /* High up, out of the way of programs that expect certain numbers. */
    log_descriptor = fcntl(low, F_DUPFD_CLOEXEC, 500);
    if (log_descriptor < 0)
        log_descriptor = low;
    else
        syscall(SYS_close, low);
    if (fstat(log_descriptor, &log_status) != 0)
        give_up(log_path);
}

/* Programs may close all that they did not open, and get the number again for something else. */
static void keep_log_open(void)
{
    struct stat status;

    if (fstat(log_descriptor, &status) == 0 && status.st_ino == log_status.st_ino &&
        status.st_dev == log_status.st_dev)
        return;
    open_log();
    flock(log_descriptor, LOCK_SH);
}

static void append(struct log_head head, const char *name, const struct iovec *bytes, int count)
{
    struct iovec all[3 + 16];
    uint32_t tail;
    size_t length = 0;
    ssize_t written;
    int n = 2;

    keep_log_open();
    for (int i = 0; i < count; i++) {
        all[n++] = bytes[i];
        length += bytes[i].iov_len;
    }
    head.magic = LOG_MAGIC;
    head.name_length = name != NULL ? (uint16_t)strlen(name) : 0;
    head.length = (uint32_t)(sizeof head + head.name_length + length + sizeof tail);
    head.process = (uint32_t)getpid();
    tail = LOG_MAGIC ^ head.length;
    all[0] = (struct iovec){&head, sizeof head};
    all[1] = (struct iovec){(char *)name, head.name_length};
    all[n++] = (struct iovec){&tail, sizeof tail};
    written = syscall(SYS_writev, log_descriptor, all, n);
    if (written != (ssize_t)head.length)
        give_up(log_path);
}

static void append_plain(struct log_head head, const char *name)
{
    int error = errno;

    append(head, name, NULL, 0);
    errno = error;
}

static void append_text(enum log_kind kind, const char *text)
{
    struct iovec bytes = {(char *)text, strlen(text)};
    int error = errno;

    append((struct log_head){.kind = (uint16_t)kind}, NULL, &bytes, 1);
    errno = error;
}

/* The first `length` bytes of the vector, in as many entries as its parts need. */
static void append_written(uint64_t file, uint64_t offset, const struct iovec *parts, size_t length)
{
    while (length > 0) {
        struct iovec some[16];
        struct log_head head = {.kind = LOG_WRITE, .file = file, .a = offset};
        int n = 0;

        for (; n < 16 && length > 0; n++, parts++) {
            some[n] = *parts;
            if (some[n].iov_len > length)
                some[n].iov_len = length;
            length -= some[n].iov_len;
            offset += some[n].iov_len;
        }
        append(head, NULL, some, n);
    }
}

EXPORT void rasad_record_note(const char *text);
EXPORT void rasad_record_note(const char *text)
{
    if (active)
        append_text(LOG_NOTE, text);
}

/* ---- Snapshots ------------------------------------------------------------------------------ */

static void snap_bytes(int at, const char *name, uint64_t file)
{
    static char buffer[1 << 16];
    int descriptor = (int)syscall(SYS_openat, at, name, O_RDONLY | O_CLOEXEC);
    uint64_t offset = 0;
    ssize_t n;

    if (descriptor < 0)
        give_up(name);
    while ((n = read(descriptor, buffer, sizeof buffer)) > 0) {
        struct iovec bytes = {buffer, (size_t)n};

        append((struct log_head){.kind = LOG_SNAP_BYTES, .file = file, .a = offset}, NULL, &bytes,
               1);
        offset += (uint64_t)n;
    }
    syscall(SYS_close, descriptor);
}

static void snap_folder(int descriptor, uint64_t folder)
{
    DIR *listing = fdopendir(descriptor);
    struct dirent *entry;

    if (listing == NULL)
        give_up("cannot list a folder");
    while ((entry = readdir(listing)) != NULL) {
        struct log_head head = {.kind = LOG_SNAP, .folder = folder};
        struct stat status;

        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0 ||
            fstatat(dirfd(listing), entry->d_name, &status, AT_SYMLINK_NOFOLLOW) != 0 ||
            (!S_ISREG(status.st_mode) && !S_ISDIR(status.st_mode)))
            continue;
        head.file = status.st_ino;
        head.a = S_ISDIR(status.st_mode);
        head.b = (uint64_t)status.st_size;
        append(head, entry->d_name, NULL, 0);
        if (S_ISDIR(status.st_mode))
            snap_folder((int)syscall(SYS_openat, dirfd(listing), entry->d_name,
                                     O_RDONLY | O_DIRECTORY | O_CLOEXEC),
                        head.file);
        else
            snap_bytes(dirfd(listing), entry->d_name, head.file);
    }
    closedir(listing);
}

static void before_fork(void)
{
    pthread_mutex_lock(&order);
}

static void after_fork(void)
{
    pthread_mutex_unlock(&order);
}

__attribute__((constructor)) static void start(void)
{
    const char *path = getenv("RASAD_RECORD");
    const char *folder = getenv("RASAD_RECORD_FOLDER");
    const char *program = getenv("RASAD_RECORD_PROGRAM");
    struct log_head head = {.kind = LOG_START};
    struct stat status;

    if (path == NULL || folder == NULL ||
        (program != NULL && strcmp(program, program_invocation_short_name) != 0))
        return;
    if (!place_set_folder(folder) || stat(folder, &status) != 0)
        give_up(folder);
    snprintf(log_path, sizeof log_path, "%s", path);
    open_log();
    head.file = status.st_ino;
    head.a = flock(log_descriptor, LOCK_EX | LOCK_NB) == 0;
    append(head, place_folder(), NULL, 0);
    if (head.a) {
        snap_folder((int)syscall(SYS_openat, AT_FDCWD, folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC),
                    status.st_ino);
        append((struct log_head){.kind = LOG_SNAP_END}, NULL, NULL, 0);
    }
    flock(log_descriptor, LOCK_SH);
    pthread_atfork(before_fork, after_fork, after_fork);
    active = true;
}

/* ---- Opening -------------------------------------------------------------------------------- */

HAS_NEXT(openat);
HAS_NEXT(fopen);
HAS_NEXT(mkostemps);
HAS_NEXT(mkdtemp);

/* Opens with O_CREAT such that it is known whether that made the file. */
static int open_or_create(int at, const char *path, int flags, mode_t mode, bool *created)
{
    for (int i = 0; i < 3; i++) {
        int descriptor = (flags & O_EXCL) ? -1 : NEXT(openat)(at, path, flags & ~O_CREAT, mode);

        *created = false;
        if (!(flags & O_EXCL) && (descriptor >= 0 || errno != ENOENT))
            return descriptor;
        descriptor = NEXT(openat)(at, path, flags | O_EXCL, mode);
        *created = descriptor >= 0;
        if (descriptor >= 0 || errno != EEXIST || (flags & O_EXCL))
            return descriptor;
    }
    return NEXT(openat)(at, path, flags, mode); /* a link to nowhere: the folder's own affair */
}

static int open_recorded(int at, const char *path, int flags, mode_t mode)
{
    struct place place;
    struct log_head head = {.kind = LOG_CREATE};
    bool temporary = (flags & O_TMPFILE) == O_TMPFILE;
    bool created = false;
    int descriptor;

    pthread_mutex_lock(&order);
    if (temporary) {
        descriptor = NEXT(openat)(at, path, flags, mode);
        if (descriptor >= 0 && place_of(descriptor, &head.file))
            append_plain(head, NULL);
    } else if (place_find(at, path, &place)) {
        descriptor = (flags & O_CREAT) ? open_or_create(at, path, flags, mode, &created)
                                       : NEXT(openat)(at, path, flags, mode);
        head.folder = place.folder;
        if (descriptor >= 0 && place_of(descriptor, &head.file)) {
            if (created)
                append_plain(head, place.name);
            else if (flags & O_TRUNC)
                append_plain((struct log_head){.kind = LOG_SIZE, .file = head.file}, NULL);
        }
        place_close(&place);
    } else {
        descriptor = NEXT(openat)(at, path, flags, mode);
    }
    pthread_mutex_unlock(&order);
    return descriptor;
}

static int open_any(int at, const char *path, int flags, mode_t mode)
{
    if (!active || ((flags & (O_CREAT | O_TRUNC)) == 0 && (flags & O_TMPFILE) != O_TMPFILE))
        return NEXT(openat)(at, path, flags, mode);
    return open_recorded(at, path, flags, mode);
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

EXPORT FILE *fopen(const char *path, const char *mode)
{
    struct place place;

    if (active && strpbrk(mode, "wa+") != NULL && place_find(AT_FDCWD, path, &place)) {
        append_text(LOG_ODD, "fopen() for writing, which is not recorded");
        place_close(&place);
    }
    return NEXT(fopen)(path, mode);
}

EXPORT FILE *fopen64(const char *path, const char *mode) __attribute__((alias("fopen")));

static void record_new(const char *path, bool is_folder)
{
    struct place place;

    if (!active || !place_find(AT_FDCWD, path, &place))
        return;
    append_plain(
        (struct log_head){
            .kind = LOG_CREATE, .folder = place.folder, .file = place_file(&place), .a = is_folder},
        place.name);
    place_close(&place);
}

EXPORT int mkostemps(char *pattern, int suffix_length, int flags)
{
    int descriptor = NEXT(mkostemps)(pattern, suffix_length, flags);

    if (descriptor >= 0)
        record_new(pattern, false);
    return descriptor;
}

EXPORT int mkostemp(char *pattern, int flags)
{
    return mkostemps(pattern, 0, flags);
}

EXPORT int mkstemp(char *pattern)
{
    return mkostemps(pattern, 0, 0);
}

EXPORT int mkstemp64(char *pattern) __attribute__((alias("mkstemp")));
EXPORT int mkostemp64(char *pattern, int flags) __attribute__((alias("mkostemp")));

EXPORT char *mkdtemp(char *pattern)
{
    char *path = NEXT(mkdtemp)(pattern);

    if (path != NULL)
        record_new(path, true);
    return path;
}

/* ---- Writing -------------------------------------------------------------------------------- */

HAS_NEXT(write);
HAS_NEXT(pwrite);
HAS_NEXT(writev);
HAS_NEXT(pwritev);
HAS_NEXT(pwritev2);
HAS_NEXT(copy_file_range);
HAS_NEXT(sendfile);

/* offset is -1 for a write at the descriptor's own. */
static void record_write(int descriptor, uint64_t file, const struct iovec *parts, ssize_t written,
                         off_t offset, int flags)
{
    int error = errno;
    int mode = fcntl(descriptor, F_GETFL);
    bool appends = (mode & O_APPEND) != 0 || (flags & RWF_APPEND) != 0;
    struct stat status;

    if (offset == -1) {
        offset = lseek(descriptor, 0, SEEK_CUR) - written;
    } else if (appends && fstat(descriptor, &status) == 0) {
        offset = status.st_size - written; /* pwrite() on O_APPEND ignores its offset */
    }
    append_written(file, (uint64_t)offset, parts, (size_t)written);
    if ((mode & O_DSYNC) != 0 || (flags & (RWF_DSYNC | RWF_SYNC)) != 0)
        append(
            (struct log_head){
                .kind = LOG_DURABLE, .file = file, .a = (uint64_t)offset, .b = (uint64_t)written},
            NULL, NULL, 0);
    errno = error;
}

/* Makes the call, and an entry if it wrote into a file of ours. */
#define RECORDED(descriptor, parts, offset, flags, call)                                           \
    do {                                                                                           \
        uint64_t file;                                                                             \
        ssize_t written;                                                                           \
        if (!active || !place_of(descriptor, &file))                                               \
            return call;                                                                           \
        pthread_mutex_lock(&order);                                                                \
        written = call;                                                                            \
        if (written > 0)                                                                           \
            record_write(descriptor, file, parts, written, offset, flags);                         \
        pthread_mutex_unlock(&order);                                                              \
        return written;                                                                            \
    } while (0)

EXPORT ssize_t write(int descriptor, const void *bytes, size_t length)
{
    struct iovec part = {(void *)bytes, length};

    RECORDED(descriptor, &part, -1, 0, NEXT(write)(descriptor, bytes, length));
}

EXPORT ssize_t pwrite(int descriptor, const void *bytes, size_t length, off_t offset)
{
    struct iovec part = {(void *)bytes, length};

    RECORDED(descriptor, &part, offset, 0, NEXT(pwrite)(descriptor, bytes, length, offset));
}

EXPORT ssize_t pwrite64(int descriptor, const void *bytes, size_t length, off_t offset)
    __attribute__((alias("pwrite")));

EXPORT ssize_t writev(int descriptor, const struct iovec *parts, int count)
{
    RECORDED(descriptor, parts, -1, 0, NEXT(writev)(descriptor, parts, count));
}

EXPORT ssize_t pwritev(int descriptor, const struct iovec *parts, int count, off_t offset)
{
    RECORDED(descriptor, parts, offset, 0, NEXT(pwritev)(descriptor, parts, count, offset));
}

EXPORT ssize_t pwritev64(int descriptor, const struct iovec *parts, int count, off_t offset)
    __attribute__((alias("pwritev")));

EXPORT ssize_t pwritev2(int descriptor, const struct iovec *parts, int count, off_t offset,
                        int flags)
{
    RECORDED(descriptor, parts, offset, flags,
             NEXT(pwritev2)(descriptor, parts, count, offset, flags));
}

EXPORT ssize_t pwritev64v2(int descriptor, const struct iovec *parts, int count, off_t offset,
                           int flags) __attribute__((alias("pwritev2")));

static void record_odd(int descriptor, const char *what)
{
    uint64_t file;

    if (active && place_of(descriptor, &file))
        append_text(LOG_ODD, what);
}

EXPORT ssize_t copy_file_range(int in, off_t *in_at, int out, off_t *out_at, size_t length,
                               unsigned flags)
{
    record_odd(out, "copy_file_range(), which is not recorded");
    return NEXT(copy_file_range)(in, in_at, out, out_at, length, flags);
}

EXPORT ssize_t sendfile(int out, int in, off_t *offset, size_t length)
{
    record_odd(out, "sendfile() into a file, which is not recorded");
    return NEXT(sendfile)(out, in, offset, length);
}

EXPORT ssize_t sendfile64(int out, int in, off_t *offset, size_t length)
    __attribute__((alias("sendfile")));

/* ---- Sizes ---------------------------------------------------------------------------------- */

HAS_NEXT(ftruncate);
HAS_NEXT(truncate);
HAS_NEXT(fallocate);
HAS_NEXT(posix_fallocate);

EXPORT int ftruncate(int descriptor, off_t size)
{
    struct log_head head = {.kind = LOG_SIZE, .a = (uint64_t)size};
    int result;

    if (!active || !place_of(descriptor, &head.file))
        return NEXT(ftruncate)(descriptor, size);
    pthread_mutex_lock(&order);
    result = NEXT(ftruncate)(descriptor, size);
    if (result == 0)
        append_plain(head, NULL);
    pthread_mutex_unlock(&order);
    return result;
}

EXPORT int ftruncate64(int descriptor, off_t size) __attribute__((alias("ftruncate")));

EXPORT int truncate(const char *path, off_t size)
{
    struct place place;
    int result;

    if (!active || !place_find(AT_FDCWD, path, &place))
        return NEXT(truncate)(path, size);
    pthread_mutex_lock(&order);
    result = NEXT(truncate)(path, size);
    if (result == 0)
        append_plain(
            (struct log_head){.kind = LOG_SIZE, .file = place_file(&place), .a = (uint64_t)size},
            NULL);
    pthread_mutex_unlock(&order);
    place_close(&place);
    return result;
}

EXPORT int truncate64(const char *path, off_t size) __attribute__((alias("truncate")));

/* Whatever the call has done to the file's size. */
static void record_size(int descriptor, uint64_t file)
{
    struct stat status;

    if (fstat(descriptor, &status) == 0)
        append_plain(
            (struct log_head){.kind = LOG_SIZE, .file = file, .a = (uint64_t)status.st_size}, NULL);
}

EXPORT int fallocate(int descriptor, int mode, off_t offset, off_t length)
{
    struct log_head head = {.kind = LOG_ZERO, .a = (uint64_t)offset, .b = (uint64_t)length};
    int result;

    if (!active || !place_of(descriptor, &head.file))
        return NEXT(fallocate)(descriptor, mode, offset, length);
    pthread_mutex_lock(&order);
    result = NEXT(fallocate)(descriptor, mode, offset, length);
    if (result == 0) {
        record_size(descriptor, head.file);
        if (mode & (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE))
            append_plain(head, NULL);
        if (mode & (FALLOC_FL_COLLAPSE_RANGE | FALLOC_FL_INSERT_RANGE))
            append_text(LOG_ODD, "fallocate() that moves bytes, which is not recorded");
    }
    pthread_mutex_unlock(&order);
    return result;
}

EXPORT int fallocate64(int descriptor, int mode, off_t offset, off_t length)
    __attribute__((alias("fallocate")));

EXPORT int posix_fallocate(int descriptor, off_t offset, off_t length)
{
    uint64_t file;
    int result;

    if (!active || !place_of(descriptor, &file))
        return NEXT(posix_fallocate)(descriptor, offset, length);
    pthread_mutex_lock(&order);
    result = NEXT(posix_fallocate)(descriptor, offset, length);
    if (result == 0)
        record_size(descriptor, file);
    pthread_mutex_unlock(&order);
    return result;
}

EXPORT int posix_fallocate64(int descriptor, off_t offset, off_t length)
    __attribute__((alias("posix_fallocate")));

/* ---- Syncing -------------------------------------------------------------------------------- */

HAS_NEXT(fsync);
HAS_NEXT(fdatasync);
HAS_NEXT(sync_file_range);
HAS_NEXT(sync);
HAS_NEXT(syncfs);

static uint64_t sync_begins(uint64_t file)
{
    uint64_t number = atomic_fetch_add(&syncs, 1) + 1;

    append_plain((struct log_head){.kind = LOG_SYNC_BEGIN, .file = file, .a = number}, NULL);
    return number;
}

static void sync_ends(uint64_t file, uint64_t number, int result)
{
    append_plain((struct log_head){.kind = LOG_SYNC_END,
                                   .file = file,
                                   .a = number,
                                   .b = result == 0 ? 0 : (uint64_t)errno},
                 NULL);
}

/* The entry before the call covers what was written before it, the one after says that it is so. */
#define SYNCED(descriptor, call)                                                                   \
    do {                                                                                           \
        uint64_t file;                                                                             \
        uint64_t number;                                                                           \
        int result;                                                                                \
        if (!active || !place_of(descriptor, &file))                                               \
            return call;                                                                           \
        number = sync_begins(file);                                                                \
        result = call;                                                                             \
        sync_ends(file, number, result);                                                           \
        return result;                                                                             \
    } while (0)

EXPORT int fsync(int descriptor)
{
    SYNCED(descriptor, NEXT(fsync)(descriptor));
}

EXPORT int fdatasync(int descriptor)
{
    SYNCED(descriptor, NEXT(fdatasync)(descriptor));
}

EXPORT int syncfs(int descriptor)
{
    uint64_t number;
    int result;

    if (!active)
        return NEXT(syncfs)(descriptor);
    number = sync_begins(0);
    result = NEXT(syncfs)(descriptor);
    sync_ends(0, number, result);
    return result;
}

EXPORT void sync(void)
{
    uint64_t number;

    if (!active) {
        NEXT(sync)();
        return;
    }
    number = sync_begins(0);
    NEXT(sync)();
    sync_ends(0, number, 0);
}

EXPORT int sync_file_range(int descriptor, off_t offset, off_t length, unsigned flags)
{
    struct log_head head = {.kind = LOG_LOOSE};
    int result = NEXT(sync_file_range)(descriptor, offset, length, flags);

    if (active && place_of(descriptor, &head.file))
        append_plain(head, NULL);
    return result;
}

/* ---- Names ---------------------------------------------------------------------------------- */

HAS_NEXT(renameat2);
HAS_NEXT(unlinkat);
HAS_NEXT(mkdirat);
HAS_NEXT(linkat);
HAS_NEXT(symlinkat);

static void record_rename(const struct place *old, const struct place *new, unsigned flags)
{
    struct log_head head = {.kind = LOG_RENAME,
                            .folder = old->folder,
                            .file = place_file(new),
                            .a = new->folder,
                            .b = flags};
    struct iovec name = {(char *)new->name, strlen(new->name)};
    int error = errno;

    append(head, old->name, &name, 1);
    errno = error;
}

EXPORT int renameat2(int old_at, const char *old_path, int new_at, const char *new_path,
                     unsigned flags)
{
    struct place old = {.parent = -1};
    struct place new = {.parent = -1};
    bool from_inside;
    bool to_inside;
    int result;

    if (!active)
        return NEXT(renameat2)(old_at, old_path, new_at, new_path, flags);
    pthread_mutex_lock(&order);
    from_inside = place_find(old_at, old_path, &old);
    to_inside = place_find(new_at, new_path, &new);
    result = NEXT(renameat2)(old_at, old_path, new_at, new_path, flags);
    if (result == 0 && from_inside && to_inside)
        record_rename(&old, &new, flags);
    else if (result == 0 && from_inside)
        append_plain((struct log_head){.kind = LOG_UNLINK, .folder = old.folder}, old.name);
    else if (result == 0 && to_inside)
        append_text(LOG_ODD, "a rename into the folder from elsewhere");
    pthread_mutex_unlock(&order);
    place_close(&old);
    place_close(&new);
    return result;
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
    struct log_head head = {.kind = LOG_UNLINK};
    struct place place;
    int result;

    if (!active || !place_find(at, path, &place))
        return NEXT(unlinkat)(at, path, flags);
    pthread_mutex_lock(&order);
    head.folder = place.folder;
    head.file = place_file(&place);
    result = NEXT(unlinkat)(at, path, flags);
    if (result == 0)
        append_plain(head, place.name);
    pthread_mutex_unlock(&order);
    place_close(&place);
    return result;
}

EXPORT int unlink(const char *path)
{
    return unlinkat(AT_FDCWD, path, 0);
}

EXPORT int rmdir(const char *path)
{
    return unlinkat(AT_FDCWD, path, AT_REMOVEDIR);
}

EXPORT int remove(const char *path)
{
    int result = unlink(path);

    return result != 0 && errno == EISDIR ? rmdir(path) : result;
}

EXPORT int mkdirat(int at, const char *path, mode_t mode)
{
    struct log_head head = {.kind = LOG_CREATE, .a = true};
    struct place place;
    int result;

    if (!active || !place_find(at, path, &place))
        return NEXT(mkdirat)(at, path, mode);
    pthread_mutex_lock(&order);
    result = NEXT(mkdirat)(at, path, mode);
    head.folder = place.folder;
    head.file = place_file(&place);
    if (result == 0)
        append_plain(head, place.name);
    pthread_mutex_unlock(&order);
    place_close(&place);
    return result;
}

EXPORT int mkdir(const char *path, mode_t mode)
{
    return mkdirat(AT_FDCWD, path, mode);
}

EXPORT int linkat(int old_at, const char *old_path, int new_at, const char *new_path, int flags)
{
    struct log_head head = {.kind = LOG_LINK};
    struct place place;
    int result;

    if (!active || !place_find(new_at, new_path, &place))
        return NEXT(linkat)(old_at, old_path, new_at, new_path, flags);
    pthread_mutex_lock(&order);
    result = NEXT(linkat)(old_at, old_path, new_at, new_path, flags);
    head.folder = place.folder;
    head.file = place_file(&place);
    if (result == 0)
        append_plain(head, place.name);
    pthread_mutex_unlock(&order);
    place_close(&place);
    return result;
}

EXPORT int link(const char *old_path, const char *new_path)
{
    return linkat(AT_FDCWD, old_path, AT_FDCWD, new_path, 0);
}

EXPORT int symlinkat(const char *target, int at, const char *path)
{
    struct place place;

    if (active && place_find(at, path, &place)) {
        append_text(LOG_ODD, "a symbolic link, which is not recorded");
        place_close(&place);
    }
    return NEXT(symlinkat)(target, at, path);
}

EXPORT int symlink(const char *target, const char *path)
{
    return symlinkat(target, AT_FDCWD, path);
}

/* ---- Mappings ------------------------------------------------------------------------------- */

HAS_NEXT(mmap);

EXPORT void *mmap(void *address, size_t length, int protection, int flags, int descriptor,
                  off_t offset)
{
    struct log_head head = {.kind = LOG_MAPPED};

    if (active && (flags & MAP_TYPE) != MAP_PRIVATE && (protection & PROT_WRITE) != 0 &&
        (flags & MAP_ANONYMOUS) == 0 && place_of(descriptor, &head.file))
        append_plain(head, NULL);
    return NEXT(mmap)(address, length, protection, flags, descriptor, offset);
}

EXPORT void *mmap64(void *address, size_t length, int protection, int flags, int descriptor,
                    off_t offset) __attribute__((alias("mmap")));
