/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * standstill: a moment in which no shard takes anything in, so that what all of them share can be
 * changed at once. Whoever wants one asks; each shard comes between two batches, does there what it
 * is told to (on its own thread, so that its series stay its own), and stays until the end. A shard
 * that doesn't come in time, since a plugin holds it up, lets the whole thing fail, and the others
 * go on as if nothing had been. Threads: standstill_is_wanted() and standstill_join() by shards,
 * which pay one load a batch; the rest by one thread at a time.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

/* What a shard is told to do; false if it could not. */
typedef bool standstill_task(void *context, int shard);

struct standstill {
    _Atomic bool wanted;
    int shard_count;
    pthread_mutex_t lock; /* on all that follows */
    pthread_cond_t changed;
    bool open;             /* shards may come */
    int there;             /* that have come and not left */
    uint64_t round;        /* of the task at hand */
    standstill_task *task; /* of this round */
    void *context;
    int busy;    /* shards that have not done it yet */
    bool failed; /* one of them could not */
};

void standstill_open(struct standstill *standstill, int shard_count);
void standstill_close(struct standstill *standstill);

/* Asks for one; the shards must be woken then. */
void standstill_want(struct standstill *standstill);

/* Waits until all shards are there. False if one isn't by then (steady nanoseconds): nothing stands
 * still then, and standstill_end() is not due. */
bool standstill_begin(struct standstill *standstill, int64_t deadline_ns);

/* Lets every shard do this, all at once, and waits until all have; false if one could not. */
bool standstill_run(struct standstill *standstill, standstill_task *task, void *context);

/* Lets the shards go on. */
void standstill_end(struct standstill *standstill);

/* Whether a shard should come. */
static inline bool standstill_is_wanted(const struct standstill *standstill)
{
    return atomic_load_explicit(&standstill->wanted, memory_order_relaxed);
}

/* A shard comes, does what it is told, and returns when it may go on. */
void standstill_join(struct standstill *standstill, int shard);
