/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/heap.h"

#include <errno.h>
#include <stddef.h>

#include "laws/sanitized.h"

/* malloc() gets no argument of ours. */
static void (*noticed)(const char *function);

void heap_watch(void (*found)(const char *function))
{
    noticed = found;
}

#if !LAWS_SANITIZED

/* glibc's own, under the names that it keeps for this purpose (and declares nowhere). */
void *__libc_malloc(size_t size);                     // NOLINT(bugprone-reserved-identifier)
void *__libc_calloc(size_t count, size_t size);       // NOLINT(bugprone-reserved-identifier)
void *__libc_realloc(void *old, size_t size);         // NOLINT(bugprone-reserved-identifier)
void *__libc_memalign(size_t alignment, size_t size); // NOLINT(bugprone-reserved-identifier)
void __libc_free(void *old);                          // NOLINT(bugprone-reserved-identifier)

/* What is interposed must be the whole family (the GNU C library's manual, "Replacing malloc"). */
#define HEAP __attribute__((visibility("default")))

static void notice(const char *function)
{
    if (noticed != NULL)
        noticed(function);
}

HEAP void *malloc(size_t size)
{
    notice("malloc");
    return __libc_malloc(size);
}

HEAP void *calloc(size_t count, size_t size)
{
    notice("calloc");
    return __libc_calloc(count, size);
}

HEAP void *realloc(void *old, size_t size)
{
    notice("realloc");
    return __libc_realloc(old, size);
}

HEAP void free(void *old)
{
    if (old != NULL)
        notice("free");
    __libc_free(old);
}

HEAP void *memalign(size_t alignment, size_t size)
{
    notice("memalign");
    return __libc_memalign(alignment, size);
}

HEAP void *aligned_alloc(size_t alignment, size_t size)
{
    notice("aligned_alloc");
    return __libc_memalign(alignment, size);
}

HEAP int posix_memalign(void **out, size_t alignment, size_t size)
{
    void *made;

    notice("posix_memalign");
    if (alignment % sizeof(void *) != 0 || (alignment & (alignment - 1)) != 0 || alignment == 0)
        return EINVAL;
    made = __libc_memalign(alignment, size);
    if (made == NULL)
        return ENOMEM;
    *out = made;
    return 0;
}

#endif
