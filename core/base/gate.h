/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * gate: lets events through at a bounded rate, for log lines that a sender can provoke.
 * Threads: none inside; a gate belongs to the shard whose lines it bounds.
 * Time:    passed in by the caller (monotonic, nanoseconds), so a test needs no clock.
 * Memory:  a plain value; nothing to free.
 */
#include <stdbool.h>
#include <stdint.h>

struct gate {
    int64_t interval_ns; /* one event per interval in the long run */
    int64_t slack_ns;    /* how far next_ns may run ahead of now: (burst - 1) intervals */
    int64_t next_ns;     /* when the bucket will be full again */
    uint64_t held_back;  /* since the last event that passed */
};

/* A gate for `per_second` events in the long run and `burst` at once; both at least 1. */
struct gate gate_make(uint32_t per_second, uint32_t burst);

/* Whether an event may pass now; if so, `*held_back` is how many were refused before it. */
bool gate_pass(struct gate *gate, int64_t now_ns, uint64_t *held_back);
