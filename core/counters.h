/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * counters: what a shard counts of its own work, for the rasad_* families.
 * Threads: one writer, the shard; any reader.
 */
#include <stdatomic.h>
#include <stdint.h>

#include "reject.h"

struct counters {
    _Atomic uint64_t messages;
    _Atomic uint64_t rejected[REJECT_COUNT];
    _Atomic uint64_t clamped_times;
    _Atomic uint64_t connections; /* accepted */
};

/* One more, by the only thread that writes it: a plain load and store, no locked instruction. */
static inline void counter_add(_Atomic uint64_t *counter, uint64_t more)
{
    atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + more,
                          memory_order_relaxed);
}

static inline uint64_t counter_read(const _Atomic uint64_t *counter)
{
    return atomic_load_explicit(counter, memory_order_relaxed);
}
