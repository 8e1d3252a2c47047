/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * scoped: ends what a scope owns on every way out of it.
 *   SCOPED(free_at) char *path = strdup(name);     freed when `path` goes out of scope
 *   return TAKE(path);                             unless it was handed on
 */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define SCOPED(end) __attribute__((cleanup(end)))

/* The pointer's value; the variable itself is NULL afterwards, so that its scope ends nothing. */
#define TAKE(pointer)                                                                              \
    __extension__({                                                                                \
        __typeof__(pointer) *from_ = &(pointer);                                                   \
        __typeof__(pointer) taken_ = *from_;                                                       \
        *from_ = NULL;                                                                             \
        taken_;                                                                                    \
    })

/* The descriptor; the variable is -1 afterwards. */
static inline int take_fd(int *fd)
{
    int taken = *fd;

    *fd = -1;
    return taken;
}

/* For SCOPED: each gets the address of the variable. */
static inline void free_at(void *pointer)
{
    free(*(void **)pointer);
}

static inline void close_at(const int *fd)
{
    if (*fd >= 0)
        (void)close(*fd);
}

static inline void fclose_at(FILE *const *file)
{
    if (*file != NULL)
        (void)fclose(*file);
}
