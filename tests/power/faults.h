/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * faults: the control page, a file of FAULT_PAGE_BYTES that the driver and the programs under
 * faults.so have mapped. The driver fills a rule and sets `on` last; the programs count.
 */
#include <stdint.h>

#define FAULT_MAGIC 0x31746c66u
#define FAULT_RULES 16
#define FAULT_PATH_BYTES 192
#define FAULT_PAGE_BYTES 8192

enum fault_function { /* faults.py has the same order */
                      FAULT_WRITE = 1,
                      FAULT_PWRITE, /* and pwrite64 */
                      FAULT_WRITEV,
                      FAULT_PWRITEV, /* and pwritev2 */
                      FAULT_FSYNC,
                      FAULT_FDATASYNC,
                      FAULT_MMAP,
                      FAULT_ACCEPT, /* accept and accept4 */
                      FAULT_MALLOC,
                      FAULT_CALLOC,
                      FAULT_REALLOC,
                      FAULT_OPEN, /* and openat, creat */
                      FAULT_FTRUNCATE,
                      FAULT_RENAME,    /* and renameat, renameat2 */
                      FAULT_UNLINK,    /* and unlinkat */
                      FAULT_FALLOCATE, /* and posix_fallocate */
                      FAULT_MKDIR,
                      FAULT_FUNCTIONS,
};

struct fault_rule {
    uint32_t on; /* written last, with release; 0 while the rest changes */
    uint32_t function;
    uint64_t first;    /* the call from which on the rule fails calls, from 1 */
    uint64_t every;    /* of these each so many-th; 0: only the first */
    uint64_t most;     /* fails no more than so many; 0: no bound */
    int32_t error;     /* errno; 0 without bytes: nothing fails (a delay, or a count) */
    uint32_t bytes;    /* writes: so many at most are written, with success, instead of error */
    uint32_t delay_us; /* sleeps before the call, failed or not */
    uint32_t padding;
    uint64_t seen; /* calls that the rule looked at since it was set */
    uint64_t failed;
    char below[FAULT_PATH_BYTES];      /* only descriptors and paths in this folder; "" for all */
    char while_file[FAULT_PATH_BYTES]; /* only while this file exists; "!path": while it does not */
};

struct fault_page {
    uint32_t magic;
    uint32_t programs;               /* that have mapped the page */
    uint64_t calls[FAULT_FUNCTIONS]; /* of each function, rule or not */
    struct fault_rule rules[FAULT_RULES];
};

_Static_assert(sizeof(struct fault_rule) == 64 + 2 * FAULT_PATH_BYTES, "faults.py has it too");
_Static_assert(sizeof(struct fault_page) <= FAULT_PAGE_BYTES, "it is one file of that size");
