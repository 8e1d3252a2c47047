/* SPDX-License-Identifier: Apache-2.0 */
#include "reload/standstill.h"

#include <assert.h>
#include <errno.h>
#include <time.h>

#include "base/clock.h"

void standstill_open(struct standstill *standstill, int shard_count)
{
    pthread_condattr_t attributes;

    *standstill = (struct standstill){.shard_count = shard_count};
    (void)pthread_mutex_init(&standstill->lock, NULL);
    (void)pthread_condattr_init(&attributes);
    (void)pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    (void)pthread_cond_init(&standstill->changed, &attributes);
    (void)pthread_condattr_destroy(&attributes);
}

void standstill_close(struct standstill *standstill)
{
    (void)pthread_cond_destroy(&standstill->changed);
    (void)pthread_mutex_destroy(&standstill->lock);
}

void standstill_want(struct standstill *standstill)
{
    (void)pthread_mutex_lock(&standstill->lock);
    assert(!standstill->open && standstill->there == 0);
    standstill->open = true;
    atomic_store_explicit(&standstill->wanted, true, memory_order_relaxed);
    (void)pthread_mutex_unlock(&standstill->lock);
}

/* The lock is held. Waits until nobody is left, so that the next one begins with none. */
static void let_go(struct standstill *standstill)
{
    standstill->open = false;
    atomic_store_explicit(&standstill->wanted, false, memory_order_relaxed);
    (void)pthread_cond_broadcast(&standstill->changed);
    while (standstill->there > 0)
        (void)pthread_cond_wait(&standstill->changed, &standstill->lock);
}

bool standstill_begin(struct standstill *standstill, int64_t deadline_ns)
{
    const struct timespec deadline = {.tv_sec = deadline_ns / NS_PER_S,
                                      .tv_nsec = deadline_ns % NS_PER_S};
    bool all;
    int why = 0;

    (void)pthread_mutex_lock(&standstill->lock);
    while (!(all = standstill->there == standstill->shard_count) && why != ETIMEDOUT)
        why = pthread_cond_timedwait(&standstill->changed, &standstill->lock, &deadline);
    if (!all)
        let_go(standstill);
    (void)pthread_mutex_unlock(&standstill->lock);
    return all;
}

bool standstill_run(struct standstill *standstill, standstill_task *task, void *context)
{
    bool fine;

    (void)pthread_mutex_lock(&standstill->lock);
    standstill->task = task;
    standstill->context = context;
    standstill->busy = standstill->shard_count;
    standstill->failed = false;
    standstill->round++;
    (void)pthread_cond_broadcast(&standstill->changed);
    while (standstill->busy > 0)
        (void)pthread_cond_wait(&standstill->changed, &standstill->lock);
    fine = !standstill->failed;
    (void)pthread_mutex_unlock(&standstill->lock);
    return fine;
}

void standstill_end(struct standstill *standstill)
{
    (void)pthread_mutex_lock(&standstill->lock);
    let_go(standstill);
    (void)pthread_mutex_unlock(&standstill->lock);
}

/* The lock is held, but not while the task runs. */
static void do_task(struct standstill *standstill, int shard)
{
    standstill_task *task = standstill->task;
    void *context = standstill->context;
    bool fine;

    (void)pthread_mutex_unlock(&standstill->lock);
    fine = task(context, shard);
    (void)pthread_mutex_lock(&standstill->lock);
    standstill->failed |= !fine;
    if (--standstill->busy == 0)
        (void)pthread_cond_broadcast(&standstill->changed);
}

void standstill_join(struct standstill *standstill, int shard)
{
    uint64_t done;

    (void)pthread_mutex_lock(&standstill->lock);
    if (!standstill->open) { /* it was over before we came */
        (void)pthread_mutex_unlock(&standstill->lock);
        return;
    }
    standstill->there++;
    done = standstill->round;
    (void)pthread_cond_broadcast(&standstill->changed);
    while (standstill->open) {
        if (standstill->round != done) {
            done = standstill->round;
            do_task(standstill, shard);
        } else {
            (void)pthread_cond_wait(&standstill->changed, &standstill->lock);
        }
    }
    standstill->there--;
    (void)pthread_cond_broadcast(&standstill->changed);
    (void)pthread_mutex_unlock(&standstill->lock);
}
