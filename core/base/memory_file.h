/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * memory_file: a memfd for bytes, which never can be executed, so that it can be had where the
 * kernel allows no other (vm.memfd_noexec = 2).
 * Threads: any.
 */

/* One that can be sealed and is close-on-exec; -1 with errno set if it can't be had. */
int memory_file(const char *name);
