/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * guard: what makes a law's process notice, at once, that a plugin does what it may not. Each guard
 * holds until the process ends, and what it notices ends the process, with all that is known of it
 * on the slate.
 * Threads: one process, one thread.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/module.h"
#include "laws/slate.h"

/* Memory that a fault may lie in. */
struct guard_range {
    const char *start, *end;
    const char *block, *block_end; /* PLACE_BEFORE and PLACE_BEHIND: of this block */
    enum law_place place;          /* PLACE_UNKNOWN: before or behind the block */
};

enum { GUARD_RANGES = 32 };

/* Where a guard puts what it notices, and what it knows about the memory; lives as long as the
 * process. */
struct guard {
    struct slate *slate;
    struct guard_range ranges[GUARD_RANGES];
    size_t count;
};

/* Writes down the signals that end the process, which is what they do. */
void guard_signals(struct guard *guard);

/* Adds a range; of two that have an address the first counts. There is room for what a bench has.
 */
void guard_add(struct guard *guard, struct guard_range range);

/* Makes the variables of a loaded plugin read-only. False if it has some of each thread's own,
 * which can't be. */
bool guard_globals(struct guard *guard, const struct module *module);

/* Lets no system call pass but what ends a process; false with errno set if there is no filter. */
bool guard_calls(void);

/* What an interposed malloc() calls; see laws.h. */
void guard_heap_found(const char *function);
