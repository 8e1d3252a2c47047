/* SPDX-License-Identifier: Apache-2.0 */
#include "publisher.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"

/* How long a scrape waits for a shard that is busy, or stuck in a plugin. */
#define PATIENCE_NS (2 * NS_PER_S)

bool publisher_open(struct publisher *publisher, struct view *view, struct shard *shards,
                    int shard_count, struct rasad_error *error)
{
    pthread_condattr_t attributes;

    *publisher = (struct publisher){.view = view, .shards = shards, .shard_count = shard_count};
    publisher->last = &publisher->first;
    publisher->answers = calloc((size_t)shard_count, sizeof *publisher->answers);
    (void)pthread_mutex_init(&publisher->refreshing, NULL);
    (void)pthread_mutex_init(&publisher->lock, NULL);
    (void)pthread_condattr_init(&attributes);
    (void)pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    (void)pthread_cond_init(&publisher->answered, &attributes);
    (void)pthread_cond_init(&publisher->stop, &attributes);
    (void)pthread_condattr_destroy(&attributes);
    return publisher->answers != NULL || rasad_fail_memory(error);
}

static struct timespec to_timespec(int64_t ns)
{
    return (struct timespec){.tv_sec = ns / NS_PER_S, .tv_nsec = ns % NS_PER_S};
}

static void take_all(struct publisher *publisher, struct cut *cut)
{
    while (cut != NULL) {
        struct cut *next = cut->next;

        view_take(publisher->view, cut);
        cut = next;
    }
}

void publisher_close(struct publisher *publisher)
{
    take_all(publisher, publisher->first);
    free(publisher->answers);
    (void)pthread_cond_destroy(&publisher->stop);
    (void)pthread_cond_destroy(&publisher->answered);
    (void)pthread_mutex_destroy(&publisher->lock);
    (void)pthread_mutex_destroy(&publisher->refreshing);
}

void publisher_take_cut(void *context, int shard, struct cut *cut, uint64_t ticket)
{
    struct publisher *publisher = context;

    (void)pthread_mutex_lock(&publisher->lock);
    if (cut != NULL) {
        cut->next = NULL;
        *publisher->last = cut;
        publisher->last = &cut->next;
    }
    publisher->answers[shard] = ticket;
    (void)pthread_cond_signal(&publisher->answered);
    (void)pthread_mutex_unlock(&publisher->lock);
}

static bool all_have_answered(const struct publisher *publisher, uint64_t ticket)
{
    for (int i = 0; i < publisher->shard_count; i++) {
        if (publisher->answers[i] < ticket)
            return false;
    }
    return true;
}

static struct cut *take_queue(struct publisher *publisher)
{
    struct cut *cuts = publisher->first;

    publisher->first = NULL;
    publisher->last = &publisher->first;
    return cuts;
}

/* Waits for the answers and takes the queue; the cuts are the caller's then. */
static struct cut *await_cuts(struct publisher *publisher, int64_t deadline_ns, bool *complete)
{
    const struct timespec deadline = to_timespec(deadline_ns);
    struct cut *cuts;
    int why = 0;

    (void)pthread_mutex_lock(&publisher->lock);
    while (!(*complete = all_have_answered(publisher, publisher->ticket)) && !publisher->stopping &&
           why != ETIMEDOUT)
        why = pthread_cond_timedwait(&publisher->answered, &publisher->lock, &deadline);
    cuts = take_queue(publisher);
    (void)pthread_mutex_unlock(&publisher->lock);
    return cuts;
}

void publisher_pause(struct publisher *publisher)
{
    (void)pthread_mutex_lock(&publisher->refreshing);
}

void publisher_resume(struct publisher *publisher)
{
    (void)pthread_mutex_unlock(&publisher->refreshing);
}

void publisher_take_late(struct publisher *publisher)
{
    struct cut *cut;

    (void)pthread_mutex_lock(&publisher->lock);
    cut = take_queue(publisher);
    (void)pthread_mutex_unlock(&publisher->lock);
    while (cut != NULL) {
        struct cut *next = cut->next;

        view_take_shut(publisher->view, cut);
        cut = next;
    }
}

bool publisher_refresh(struct publisher *publisher)
{
    int64_t start_ns = clock_steady_ns();
    bool complete;

    (void)pthread_mutex_lock(&publisher->refreshing);
    (void)pthread_mutex_lock(&publisher->lock);
    publisher->ticket++;
    (void)pthread_mutex_unlock(&publisher->lock);
    for (int i = 0; i < publisher->shard_count; i++)
        shard_want_cut(&publisher->shards[i], publisher->ticket);
    take_all(publisher, await_cuts(publisher, start_ns + PATIENCE_NS, &complete));
    (void)pthread_mutex_unlock(&publisher->refreshing);
    timing_add(&publisher->took, clock_steady_ns() - start_ns);
    return complete;
}

/* Waits for the next second; false if it is the end. */
static bool wait_a_second(struct publisher *publisher)
{
    const struct timespec next = to_timespec(clock_steady_ns() + NS_PER_S);
    bool stopping;
    int why = 0;

    (void)pthread_mutex_lock(&publisher->lock);
    while (!publisher->stopping && why != ETIMEDOUT)
        why = pthread_cond_timedwait(&publisher->stop, &publisher->lock, &next);
    stopping = publisher->stopping;
    (void)pthread_mutex_unlock(&publisher->lock);
    return !stopping;
}

static void *run(void *argument)
{
    while (wait_a_second(argument))
        (void)publisher_refresh(argument);
    return NULL;
}

bool publisher_start(struct publisher *publisher, struct rasad_error *error)
{
    int why = pthread_create(&publisher->thread, NULL, run, publisher);

    if (why != 0)
        return rasad_fail(error, "cannot start a thread: %s", strerror(why));
    publisher->running = true;
    return true;
}

void publisher_stop(struct publisher *publisher)
{
    if (!publisher->running)
        return;
    (void)pthread_mutex_lock(&publisher->lock);
    publisher->stopping = true;
    (void)pthread_cond_signal(&publisher->stop);
    (void)pthread_cond_broadcast(&publisher->answered); /* the shards may answer no more */
    (void)pthread_mutex_unlock(&publisher->lock);
    (void)pthread_join(publisher->thread, NULL);
    publisher->running = false;
}
