/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * sandbox: what a worker's process takes from itself before a plugin's code runs in it. Some
 * containers don't permit a step; then the others hold, and whoever started the worker is told
 * which one is missing. Programs built with a sanitizer leave out what it could not live with.
 * Threads: none yet when they are called.
 */
#include <stdint.h>

/* Steps that were not permitted, or'ed. */
enum {
    SANDBOX_PRIVILEGES = 1, /* no more of them by executing something */
    SANDBOX_LIMITS = 2,     /* of memory, descriptors, processes and core files */
    SANDBOX_CALLS = 4,      /* the system calls that are allowed */
};

/* What holds while a plugin is loaded and configured, too. The steps that are missing. */
uint32_t sandbox_begin(void);

/*
 * What holds while samples are taken: no descriptor (but 2 to write to), no file, no process, no
 * memory that can be executed; any other system call than those of arithmetic kills. The steps that
 * are missing.
 */
uint32_t sandbox_close(void);
