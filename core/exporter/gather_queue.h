/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * gather_queue: series of an isolated plugin that a gather has found and not handed on yet: they
 * are merged and rendered many at a time, for each time costs two processes a wake-up. Threads: as
 * gather. Memory: states are lent until the queue is run; the queue is the gather's.
 */
#include <stdbool.h>
#include <stddef.h>

#include "exporter/gather.h"
#include "isolate/isolate.h"

/* Series of one time. */
#define GATHER_QUEUE_SERIES 256

/* States of one series, one a shard; there are never more shards than a CPU set has bits. */
#define GATHER_QUEUE_STATES 1024

struct gather_queue {
    struct gather *gather;
    struct isolate *isolate; /* of all that is in it */
    /* Hands one on whose points are in gather->points. */
    void (*hand_on)(struct gather *gather, struct gathered *gathered);
    size_t count;
    size_t state_count;
    struct gathered at[GATHER_QUEUE_SERIES];
    struct isolate_series series[GATHER_QUEUE_SERIES];
    const void *states[GATHER_QUEUE_SERIES + GATHER_QUEUE_STATES];
};

/* Adds a series with its states, at least one; runs the queue if it is full. */
void gather_queue_add(struct gather_queue *queue, const struct gathered *gathered,
                      const void *const *states, size_t count);

/* Merges, renders and hands on what is in it. */
void gather_queue_run(struct gather_queue *queue);
