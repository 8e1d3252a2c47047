/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * backoff: how long to wait before the next try to reach a server: 0.2 s, doubled with each try, up
 * to 1 s in the first five minutes of a server's absence, so that a restart is noticed at once, and
 * up to 30 s later. Jitter takes off up to a quarter, so that a thousand agents don't come at once.
 * Threads: none inside. Time and randomness are passed in. Memory: a plain value; zero is fresh.
 */
#include <stdint.h>

struct backoff {
    int64_t since_ns; /* of the first try that failed; 0: none has */
    int64_t step_ns;  /* the last delay, before jitter */
};

/* The delay after a failed try, in nanoseconds (whole milliseconds); `random` is any 64 bits. */
int64_t backoff_next(struct backoff *backoff, int64_t now_ns, uint64_t random);
