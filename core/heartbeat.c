/* SPDX-License-Identifier: Apache-2.0 */
#include "heartbeat.h"

#include "base/clock.h"
#include "crash.h"
#include "handover/service.h"

/* How long shards may stand still, and the loop be held. */
#define STILL_NS (60 * NS_PER_S)

/* For so many beats' time scrapes may keep a commit waiting: large ones take long. */
#define SCRAPE_BEATS 3

/* After a beat that was left out the next try comes in a fraction of the time, and the next look no
 * sooner than that: shards come by twice a second. */
#define RETRIES 8
#define LOOK_NS NS_PER_S

struct heartbeat heartbeat_make(struct view *view, int64_t every_ns, int64_t now_ns)
{
    return (struct heartbeat){.view = view, .every_ns = every_ns, .next_ns = now_ns + every_ns};
}

int heartbeat_wait_ms(const struct heartbeat *heartbeat, int64_t now_ns)
{
    if (heartbeat->every_ns == 0)
        return -1;
    return heartbeat->next_ns <= now_ns ? 0 : (int)((heartbeat->next_ns - now_ns) / NS_PER_MS) + 1;
}

/* A shard that didn't come by since it was looked at last; -1: they all did. */
static int find_stuck(struct shard_common *common)
{
    int stuck = -1;

    for (int i = 0; i < common->shard_count; i++) {
        struct shard *shard = &common->shards[i];
        uint64_t pulse = atomic_load_explicit(&shard->pulse, memory_order_relaxed);

        if (pulse == shard->seen_pulse)
            stuck = i;
        shard->seen_pulse = pulse;
    }
    return stuck;
}

/* Whether they may be where they are. */
static bool may_stand_still(struct heartbeat *heartbeat, struct shard_common *common,
                            int64_t now_ns)
{
    if (!standstill_is_wanted(&common->standstill)) {
        heartbeat->still_since_ns = 0;
        return false;
    }
    if (heartbeat->still_since_ns == 0)
        heartbeat->still_since_ns = now_ns;
    return now_ns - heartbeat->still_since_ns < STILL_NS;
}

static void log_outcome(const struct heartbeat *heartbeat, const struct log *log, int stuck,
                        int64_t waited_ns)
{
    if (!heartbeat->is_missing)
        log_info(log, "the watchdog is fed again",
                 log_number("every_ms", heartbeat->every_ns / NS_PER_MS));
    else if (stuck >= 0)
        log_error(log, "a plugin keeps a thread of the server busy: the watchdog isn't fed",
                  log_number("thread", stuck));
    else
        log_error(log, "a plugin keeps a scrape busy: the watchdog isn't fed",
                  log_number("waited_ms", waited_ns / NS_PER_MS));
}

/* Whether all is well, as far as it can be asked for. The manager ends the process soon if it
 * isn't, and whose fault that is goes on record then. */
static bool look(struct heartbeat *heartbeat, struct shard_common *common, int64_t now_ns)
{
    bool was_missing = heartbeat->is_missing;
    int stuck = find_stuck(common);
    int64_t waited_ns = view_waited_ns(heartbeat->view, now_ns);
    bool waits = waited_ns > SCRAPE_BEATS * heartbeat->every_ns;

    if (may_stand_still(heartbeat, common, now_ns))
        stuck = -1;
    heartbeat->is_missing = stuck >= 0 || waits;
    if (stuck >= 0)
        crash_note_hang(common->shards[stuck].place);
    else if (waits)
        view_note_hang(heartbeat->view);
    else if (was_missing)
        crash_note_hang(NULL);
    if (was_missing != heartbeat->is_missing)
        log_outcome(heartbeat, common->log, stuck, waited_ns);
    shards_wake(common->shards, common->shard_count); /* so that who sleeps comes by */
    return !heartbeat->is_missing;
}

/* How long until the next turn. One missed beat must not be the end. */
static int64_t pause_ns(const struct heartbeat *heartbeat)
{
    int64_t soon_ns = heartbeat->every_ns / RETRIES;

    if (!heartbeat->is_missing && !heartbeat->is_unheard)
        return heartbeat->every_ns;
    if (heartbeat->is_missing && soon_ns < LOOK_NS)
        soon_ns = LOOK_NS;
    return soon_ns < heartbeat->every_ns ? soon_ns : heartbeat->every_ns;
}

void heartbeat_turn(struct heartbeat *heartbeat, struct shard_common *common, int64_t now_ns)
{
    if (heartbeat->every_ns == 0 || now_ns < heartbeat->next_ns)
        return;
    if (heartbeat->is_unheard || look(heartbeat, common, now_ns))
        heartbeat->is_unheard = !service_beat();
    heartbeat->next_ns = now_ns + pause_ns(heartbeat);
}

/* False if it can't be had within that time. A jump of the wall clock makes it no more than early
 * or late, and the thread sanitizer knows no lock that goes by another. */
static bool lock_within(pthread_mutex_t *lock, int wait_ms)
{
    int64_t until_ns = clock_wall_ns() + wait_ms * NS_PER_MS;
    const struct timespec until = {.tv_sec = until_ns / NS_PER_S, .tv_nsec = until_ns % NS_PER_S};

    return pthread_mutex_timedlock(lock, &until) == 0;
}

void heartbeat_lock(struct heartbeat *heartbeat, struct shard_common *common, pthread_mutex_t *lock)
{
    int64_t start_ns = clock_steady_ns(), now_ns = start_ns;

    while (heartbeat->every_ns > 0 && now_ns - start_ns < STILL_NS) {
        if (lock_within(lock, heartbeat_wait_ms(heartbeat, now_ns)))
            return;
        now_ns = clock_steady_ns();
        heartbeat_turn(heartbeat, common, now_ns);
    }
    (void)pthread_mutex_lock(lock);
}
