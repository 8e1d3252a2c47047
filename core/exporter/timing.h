/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * timing: a histogram of how long something took, for rasad_commit_seconds and the like.
 * Threads: any.
 */
#include <stdatomic.h>
#include <stdint.h>

/* Bounds: 100 us, 1 ms, 10 ms, 100 ms, 1 s, 10 s, and beyond. */
#define TIMING_BOUNDS 6

struct timing {
    _Atomic uint64_t counts[TIMING_BOUNDS + 1]; /* not cumulative */
    _Atomic uint64_t sum_ns;
};

/* The bound in seconds. */
double timing_bound(int i);

void timing_add(struct timing *timing, int64_t took_ns);
