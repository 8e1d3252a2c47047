/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * tap: lets somebody watch the samples go by. Each watcher has a filter, which runs in the shards,
 * and a bounded room for lines that he hasn't taken yet; what finds no room is counted. A watcher,
 * however slow, holds nobody up; and without one a message costs a single relaxed load.
 * Threads: a tap is opened, emptied and closed by its watcher's thread; taps_tell() by the shards.
 * One lock on all of it, taken by a shard only while somebody watches.
 * Memory: TAP_MOST_BYTES or a line more, twice, a watcher.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "admin/verdict.h"
#include "base/error.h"
#include "base/text.h"

/* Lines that wait for a watcher. */
#define TAP_MOST_BYTES (256 << 10)

/* What a watcher wants to see; all of it is lent for as long as the tap is open. */
struct tap_filter {
    const char *agent; /* just this one; NULL: all */
    const char *key;   /* a glob, for the keys of samples; NULL: all, and whole messages too */
    bool rejected;     /* only what was refused */
};

struct tap {
    struct tap *next;
    struct tap_filter filter;
    int bell;          /* eventfd: there are lines */
    struct text lines; /* under the lock, as what follows */
    uint64_t skipped;  /* verdicts that found no room behind these lines */
};

struct taps {
    _Atomic uint32_t count; /* of those that are open */
    pthread_mutex_t lock;
    struct tap *first;
};

void taps_open(struct taps *taps);
void taps_close(struct taps *taps); /* no tap may be open any more */

/* Whether anybody watches. What became of the sample at hand may be told late to a watcher who just
 * came, or once too often to one who leaves. */
static inline bool taps_are_open(const struct taps *taps)
{
    return atomic_load_explicit(&taps->count, memory_order_relaxed) != 0;
}

/* Tells all whose filter lets it through. */
void taps_tell(struct taps *taps, struct verdict_writer *writer, const struct verdict *verdict,
               int64_t wall_ns, const char *agent_label);

/* Begins to watch. To be ended with tap_close() on true. */
bool tap_open(struct taps *taps, struct tap *tap, const struct tap_filter *filter,
              struct rasad_error *error);
void tap_close(struct taps *taps, struct tap *tap);

/* Takes what lies there, in place of what `lines` held; a line a verdict, and how many were skipped
 * behind them. The bell is silent until more comes. */
void tap_take(struct taps *taps, struct tap *tap, struct text *lines, uint64_t *skipped);
