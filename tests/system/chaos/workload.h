/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * workload: what the chaos suite's senders send. Message k of sender i is a function of i and k
 * alone, so a sender that was killed needs no spool to go on, and what the server must show in the
 * end is known beforehand: workload_tally() adds up what workload_write() writes.
 *
 * Most messages hold one sample for one of the families of chaos.py's conf; some hold several, some
 * an array, some are long, and some must be refused (and be counted as messages all the same).
 * All numbers are whole, so that sums are exact in any order.
 *
 * Threads: none inside. Memory: plain values.
 */
#include <stdbool.h>
#include <stdint.h>

#include "base/text.h"

#define WORKLOAD_BOUNDS 4 /* of chaos_sizes, see workload_bounds */
#define WORKLOAD_PATHS 64 /* series of chaos_paths: "/0" to "/63" */

extern const uint32_t workload_bounds[WORKLOAD_BOUNDS];

/* What the messages 1 to `messages` of a sender add up to. */
struct workload_totals {
    uint64_t messages;
    uint64_t samples; /* that are accepted */
    uint64_t pushes, letters;
    uint64_t sizes, sizes_sum;
    uint64_t buckets[WORKLOAD_BOUNDS]; /* cumulative */
    uint64_t last;                     /* the number of the last message that set chaos_last */
    int64_t level;
    uint64_t paths[WORKLOAD_PATHS];
    uint32_t chain; /* CRC-32C over the messages' bytes */
};

/*
 * Appends message k (from 1) of the sender, without anything before or behind it. `plain`: one that
 * any program may be given as a line: nothing malformed.
 */
void workload_write(uint32_t sender, uint64_t k, bool plain, struct text *out);

/* Adds message totals->messages + 1; `scratch` is for its bytes. */
void workload_tally(uint32_t sender, bool plain, struct workload_totals *totals,
                    struct text *scratch);

/* Some bits that are the sender's and the message's own. */
uint64_t workload_mix(uint32_t sender, uint64_t k);
