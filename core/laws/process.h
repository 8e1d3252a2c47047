/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * process: a piece of work in a process of its own, a fork of ours, that ends by itself or at its
 * deadline and shares but the slate with us.
 * Threads: the process must have but one. Memory: nothing is kept.
 */
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "laws/slate.h"

/* Forgets what was found, not what is known of the plugin. */
void process_clear(struct slate *slate);

/*
 * Runs `work`, which must not return, in a fork. When the slate says no outcome afterwards, the
 * process was ended by what it did: then the outcome is LAW_BROKEN, and the detail says how it
 * ended and in which function. False if there can't be a process.
 */
bool process_run(struct slate *slate, int64_t limit_ns, void (*work)(void *context), void *context,
                 struct rasad_error *error);
