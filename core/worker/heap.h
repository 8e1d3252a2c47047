/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * heap: malloc() and its kin of this program, so that it notices when a plugin allocates or frees.
 * A program's own definitions win over libc's for every object that it loads; these hand on to
 * libc's. A build with a sanitizer has that one's instead, and notices nothing.
 * Threads: any may allocate; heap_watch() while there is but one.
 */

/* From now on `found` is called with the function's name before anything is allocated or freed, and
 * must not return. NULL: no more. */
void heap_watch(void (*found)(const char *function));
