/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * planted: bugs on purpose, to see that the tests find them. They are in a build that was
 * configured with RASAD_PLANTED_BUGS=ON and nowhere else, and there only the one that the
 * environment names, such as RASAD_PLANTED_BUG=spool-freed-when-sent.
 * Threads: from any.
 */
#include <stdbool.h>

#ifdef RASAD_PLANTED_BUGS
/* Whether the process has this bug. The environment is read once. */
bool planted_bug(const char *name);
#else
static inline bool planted_bug(const char *name)
{
    return false;
}
#endif
