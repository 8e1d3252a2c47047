/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * clock: the two clocks, in nanoseconds. Only the programs' loops read them; modules get the time
 * as an argument.
 */
#include <stdint.h>
#include <time.h>

#define NS_PER_S INT64_C(1000000000)
#define NS_PER_MS INT64_C(1000000)

static inline int64_t clock_read_ns(clockid_t clock)
{
    struct timespec now;

    (void)clock_gettime(clock, &now);
    return (int64_t)now.tv_sec * NS_PER_S + now.tv_nsec;
}

/* Since 1970 UTC; jumps when somebody sets the clock. For stamps that people or scrapers see. */
static inline int64_t clock_wall_ns(void)
{
    return clock_read_ns(CLOCK_REALTIME);
}

/* Since some moment; never goes back. For everything that measures or waits. */
static inline int64_t clock_steady_ns(void)
{
    return clock_read_ns(CLOCK_MONOTONIC);
}

/* A wall time as people and scrapers write it: seconds, to the millisecond. */
static inline double clock_seconds(int64_t wall_ns)
{
    int64_t ms = wall_ns / NS_PER_MS;

    return (double)ms / 1e3;
}
