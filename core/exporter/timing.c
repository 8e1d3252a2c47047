/* SPDX-License-Identifier: Apache-2.0 */
#include "exporter/timing.h"

static const double bounds[TIMING_BOUNDS] = {0.0001, 0.001, 0.01, 0.1, 1, 10};

double timing_bound(int i)
{
    return bounds[i];
}

void timing_add(struct timing *timing, int64_t took_ns)
{
    int i = 0;

    while (i < TIMING_BOUNDS && (double)took_ns > bounds[i] * 1e9)
        i++;
    (void)atomic_fetch_add_explicit(&timing->counts[i], 1, memory_order_relaxed);
    (void)atomic_fetch_add_explicit(&timing->sum_ns, (uint64_t)took_ns, memory_order_relaxed);
}
