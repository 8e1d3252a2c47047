/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * disk_faults: a disk that fails on demand, for libraries too: the program's own write(), pwrite(),
 * writev(), fdatasync() and fsync() come before the C library's (it must export them), and count
 * how often they were called.
 * Threads: what fails is set while none is writing.
 */
#include <dlfcn.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>
#include <unistd.h>

/* The calls that a test lets fail; what isn't on the disk, such as a pipe or a log, never does. */
static struct {
    _Atomic long left; /* calls that succeed before one fails; below 0: all */
    bool stays;        /* all after it fail, too */
    bool syncs_only;   /* only they count */
    int code;          /* errno */
    _Atomic bool failed;
} disk = {.left = -1};

static bool disk_fails(int fd, bool is_sync)
{
    if (fd <= STDERR_FILENO || atomic_load(&disk.left) < 0 || (disk.syncs_only && !is_sync) ||
        (!is_sync && lseek(fd, 0, SEEK_CUR) < 0))
        return false;
    if (atomic_fetch_sub(&disk.left, 1) > 0)
        return false;
    atomic_store(&disk.left, disk.stays ? 0 : -1);
    atomic_store(&disk.failed, true);
    errno = disk.code;
    return true;
}

static void disk_is_fine(void)
{
    atomic_store(&disk.left, -1);
    disk.stays = false;
    disk.syncs_only = false;
}

#define DISK_REAL(name) ((__typeof__(&name))(uintptr_t)dlsym(RTLD_NEXT, #name))

ssize_t write(int fd, const void *bytes, size_t length)
{
    return disk_fails(fd, false) ? -1 : DISK_REAL(write)(fd, bytes, length);
}

ssize_t pwrite(int fd, const void *bytes, size_t length, off_t at)
{
    return disk_fails(fd, false) ? -1 : DISK_REAL(pwrite)(fd, bytes, length, at);
}

ssize_t writev(int fd, const struct iovec *parts, int count)
{
    return disk_fails(fd, false) ? -1 : DISK_REAL(writev)(fd, parts, count);
}

int fdatasync(int fd)
{
    return disk_fails(fd, true) ? -1 : DISK_REAL(fdatasync)(fd);
}

int fsync(int fd)
{
    return disk_fails(fd, true) ? -1 : DISK_REAL(fsync)(fd);
}
