/* SPDX-License-Identifier: Apache-2.0 */
#include "publisher.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/scoped.h"

/* How long a scrape waits for a shard that is busy, or stuck in a plugin. */
#define PATIENCE_NS (2 * NS_PER_S)

/* After a commit that took so long, it rests four times as long, but is never later than that. */
#define REST_FACTOR 4
#define MOST_REST_NS (4 * NS_PER_S)

/* How long after a commit that failed the next is tried at the soonest. */
#define RETRY_NS (NS_PER_S / 4)

/* How often states aside are looked at. */
#define DROP_EVERY_NS (60 * NS_PER_S)

bool publisher_open(struct publisher *publisher, struct view *view, struct shard_common *common,
                    struct store *store, struct rasad_error *error)
{
    pthread_condattr_t attributes;

    *publisher = (struct publisher){.view = view, .common = common, .store = store};
    publisher->last = &publisher->first;
    publisher->answers = calloc((size_t)common->shard_count, sizeof *publisher->answers);
    (void)pthread_mutex_init(&publisher->refreshing, NULL);
    (void)pthread_mutex_init(&publisher->lock, NULL);
    (void)pthread_condattr_init(&attributes);
    (void)pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    (void)pthread_cond_init(&publisher->answered, &attributes);
    (void)pthread_cond_init(&publisher->news, &attributes);
    (void)pthread_condattr_destroy(&attributes);
    return publisher->answers != NULL || rasad_fail_memory(error);
}

static struct timespec to_timespec(int64_t ns)
{
    return (struct timespec){.tv_sec = ns / NS_PER_S, .tv_nsec = ns % NS_PER_S};
}

static void free_cuts(struct cut *cut)
{
    while (cut != NULL) {
        struct cut *next = cut->next;

        cut_free(cut);
        cut = next;
    }
}

void publisher_close(struct publisher *publisher)
{
    free_cuts(publisher->pending);
    free_cuts(publisher->first);
    free(publisher->answers);
    (void)pthread_cond_destroy(&publisher->news);
    (void)pthread_cond_destroy(&publisher->answered);
    (void)pthread_mutex_destroy(&publisher->lock);
    (void)pthread_mutex_destroy(&publisher->refreshing);
}

/* ---- Cuts come in -------------------------------------------------------------------------- */

void publisher_take_cut(void *context, int shard, struct cut *cut, uint64_t ticket)
{
    struct publisher *publisher = context;

    (void)pthread_mutex_lock(&publisher->lock);
    if (cut != NULL) {
        cut->next = NULL;
        *publisher->last = cut;
        publisher->last = &cut->next;
    }
    publisher->lacks_cut |= cut == NULL;
    publisher->answers[shard] = ticket;
    (void)pthread_cond_signal(&publisher->answered);
    (void)pthread_mutex_unlock(&publisher->lock);
}

void publisher_note(void *context, bool is_urgent)
{
    struct publisher *publisher = context;

    (void)pthread_mutex_lock(&publisher->lock);
    publisher->has_news = true;
    publisher->is_urgent |= is_urgent;
    (void)pthread_cond_signal(&publisher->news);
    (void)pthread_mutex_unlock(&publisher->lock);
}

static bool all_have_answered(const struct publisher *publisher)
{
    for (int i = 0; i < publisher->common->shard_count; i++) {
        if (publisher->answers[i] < publisher->ticket)
            return false;
    }
    return true;
}

/* What was handed in comes behind what is pending. */
static void take_queue(struct publisher *publisher)
{
    struct cut **end = &publisher->pending;

    while (*end != NULL)
        end = &(*end)->next;
    *end = publisher->first;
    publisher->first = NULL;
    publisher->last = &publisher->first;
}

/* Asks all shards for their cuts, which are pending then; false, with the reason, if one didn't
 * answer in time or had no memory. */
static bool gather(struct publisher *publisher, bool all, struct rasad_error *error)
{
    const struct timespec deadline = to_timespec(clock_steady_ns() + PATIENCE_NS);
    bool complete, lacks_cut;
    int why = 0;

    (void)pthread_mutex_lock(&publisher->lock);
    publisher->ticket++;
    publisher->has_news = false;
    publisher->lacks_cut = false;
    (void)pthread_mutex_unlock(&publisher->lock);
    for (int i = 0; i < publisher->common->shard_count; i++)
        shard_want_cut(&publisher->common->shards[i], publisher->ticket, all);
    (void)pthread_mutex_lock(&publisher->lock);
    while (!(complete = all_have_answered(publisher)) && !publisher->stopping && why != ETIMEDOUT)
        why = pthread_cond_timedwait(&publisher->answered, &publisher->lock, &deadline);
    take_queue(publisher);
    lacks_cut = publisher->lacks_cut;
    (void)pthread_mutex_unlock(&publisher->lock);
    if (!complete)
        return rasad_fail(error, "a plugin keeps a thread of the server busy");
    return !lacks_cut || rasad_fail_memory(error);
}

/* ---- Cuts go out --------------------------------------------------------------------------- */

/* Into the view, and the marks back to their shards. */
static void show(struct publisher *publisher, bool view_is_shut)
{
    if (!view_is_shut)
        view_shut(publisher->view);
    while (publisher->pending != NULL) {
        struct cut *cut = publisher->pending;
        struct marks *marks = TAKE(cut->marks);
        struct shard *shard = &publisher->common->shards[cut->shard];

        publisher->pending = cut->next;
        view_take_shut(publisher->view, cut);
        if (marks != NULL)
            shard_give_marks(shard, marks);
    }
    if (!view_is_shut)
        view_end(publisher->view);
}

/* The first failure in a row is told, and the end of them. */
static void note_outcome(struct publisher *publisher, bool fine, const struct rasad_error *error)
{
    if (!fine)
        (void)atomic_fetch_add_explicit(&publisher->errors, 1, memory_order_relaxed);
    if (!fine && !publisher->is_failing)
        log_error(publisher->common->log,
                  "commit failed: nothing more is acknowledged or shown until the disk takes it",
                  log_text("reason", error->text));
    if (fine && publisher->is_failing)
        log_info(publisher->common->log, "the disk takes commits again",
                 log_number("failed", (int64_t)atomic_load(&publisher->errors)));
    publisher->is_failing = !fine;
}

/* Brings what is pending to the disk and shows it. */
static bool write_pending(struct publisher *publisher, bool hold_all, bool view_is_shut,
                          struct rasad_error *error)
{
    int64_t start_ns = clock_steady_ns();
    bool fine = true;

    if (publisher->store != NULL) {
        fine = store_write(publisher->store, publisher->pending, hold_all, start_ns, error);
        note_outcome(publisher, fine, error);
    }
    if (!fine)
        return false;
    publisher->has_asked_all = false;
    publisher->holds_all = false;
    show(publisher, view_is_shut);
    timing_add(&publisher->took, clock_steady_ns() - start_ns);
    return true;
}

/* Has all there is be among what is pending. A shard is asked for it once, and remembers it if it
 * is busy: while the disk fails it is not to be copied with each try. */
static bool gather_all(struct publisher *publisher, struct rasad_error *error)
{
    bool has_asked_all = publisher->has_asked_all;

    publisher->has_asked_all = true;
    publisher->holds_all = publisher->holds_all || gather(publisher, !has_asked_all, error);
    return publisher->holds_all;
}

/* One commit. What the last could not write is tried by itself, so that it doesn't pile up. */
static bool commit(struct publisher *publisher, struct rasad_error *error)
{
    bool all = publisher->store != NULL && store_wants_all(publisher->store);
    bool complete = true;

    if (all && !gather_all(publisher, error))
        return false;
    if (!all && publisher->pending == NULL)
        complete = gather(publisher, false, error);
    return write_pending(publisher, all, false, error) && complete;
}

/* What is left over, of a commit that failed or a reload that didn't come to be, is news; and so is
 * what a shard that was busy hands in later. */
static void note_rest(struct publisher *publisher, bool fine)
{
    (void)pthread_mutex_lock(&publisher->lock);
    if (!fine || publisher->pending != NULL || publisher->first != NULL) {
        publisher->has_news = true;
        (void)pthread_cond_signal(&publisher->news);
    }
    (void)pthread_mutex_unlock(&publisher->lock);
}

void publisher_pause(struct publisher *publisher)
{
    (void)pthread_mutex_lock(&publisher->refreshing);
}

void publisher_resume(struct publisher *publisher)
{
    note_rest(publisher, true);
    (void)pthread_mutex_unlock(&publisher->refreshing);
}

void publisher_prepare_settle(struct publisher *publisher)
{
    if (publisher->store == NULL || !store_wants_all(publisher->store) || publisher->holds_all)
        return;
    publisher->has_asked_all = true;
    publisher->holds_all = true; /* when the cuts are in */
    for (int i = 0; i < publisher->common->shard_count; i++)
        shard_want_all(&publisher->common->shards[i]);
}

bool publisher_settle(struct publisher *publisher, bool view_is_shut, struct rasad_error *error)
{
    bool all = publisher->store != NULL && store_wants_all(publisher->store);

    (void)pthread_mutex_lock(&publisher->lock);
    take_queue(publisher);
    (void)pthread_mutex_unlock(&publisher->lock);
    if (all && !publisher->holds_all)
        return rasad_fail(error, "the disk has failed, and has not taken all states anew yet");
    return write_pending(publisher, all, view_is_shut, error);
}

static bool task_cut(void *context, int shard)
{
    struct publisher *publisher = context;
    struct cut *cut = shard_cut(&publisher->common->shards[shard]);

    publisher_take_cut(publisher, shard, cut, publisher->ticket);
    return cut != NULL;
}

bool publisher_settle_standing(struct publisher *publisher, struct rasad_error *error)
{
    publisher_prepare_settle(publisher);
    if (!standstill_run(&publisher->common->standstill, task_cut, publisher)) {
        publisher->has_asked_all = false;
        publisher->holds_all = false;
        return rasad_fail_memory(error);
    }
    return publisher_settle(publisher, true, error) ||
           rasad_fail_at(error, "states can't be committed first");
}

bool publisher_commit(struct publisher *publisher, struct rasad_error *error)
{
    bool fine;

    (void)pthread_mutex_lock(&publisher->refreshing);
    fine = commit(publisher, error);
    note_rest(publisher, fine);
    (void)pthread_mutex_unlock(&publisher->refreshing);
    return fine;
}

bool publisher_refresh(struct publisher *publisher)
{
    struct rasad_error error;

    return publisher->store != NULL || publisher_commit(publisher, &error);
}

/* ---- The thread ---------------------------------------------------------------------------- */

/*
 * Waits until the next commit is due; false if it is the end. That is `soonest_ns`, if there is
 * something to write, or at once if that is urgent; `latest_ns` in any case.
 */
static bool wait_for_news(struct publisher *publisher, int64_t soonest_ns, int64_t latest_ns)
{
    bool stopping;

    (void)pthread_mutex_lock(&publisher->lock);
    for (;;) {
        int64_t now_ns = clock_steady_ns();
        int64_t until_ns = publisher->has_news && soonest_ns < latest_ns ? soonest_ns : latest_ns;
        const struct timespec until = to_timespec(until_ns);

        stopping = publisher->stopping;
        if (stopping || now_ns >= until_ns || publisher->is_urgent)
            break;
        (void)pthread_cond_timedwait(&publisher->news, &publisher->lock, &until);
    }
    publisher->is_urgent = false;
    (void)pthread_mutex_unlock(&publisher->lock);
    return !stopping;
}

/* When the next commit may begin, after one that began at `start_ns`: so that commits take a fifth
 * of a core at most. For one that failed that goes by the time that it took, since others may have
 * done the work (store_check()). */
static int64_t next_commit_ns(int64_t start_ns, int64_t interval_ns, int64_t took_ns)
{
    int64_t rest_ns = REST_FACTOR * took_ns < MOST_REST_NS ? REST_FACTOR * took_ns : MOST_REST_NS;
    int64_t rested_ns = clock_steady_ns() + rest_ns;

    return start_ns + interval_ns > rested_ns ? start_ns + interval_ns : rested_ns;
}

/* Erases some of what is aside for too long; false if there may be more. */
static bool drop_aside(struct publisher *publisher, int64_t now_ns)
{
    struct rasad_error error;
    bool done = true;

    if (!store_drop_aside(publisher->store, publisher->common->conf->state_keep_ns, now_ns, &done,
                          &error))
        log_warning(publisher->common->log, "states of metrics that are gone can't be erased",
                    log_text("reason", error.text));
    return done;
}

/* A commit, and from time to time what is aside for too long is erased, some at a time. That comes
 * behind a commit of all that is new, with no reload between: series that have come back from a
 * layout that is to go are on disk under their own, then. */
static bool commit_and_drop(struct publisher *publisher, int64_t start_ns, int64_t *drop_ns,
                            int64_t *interval_ns)
{
    struct rasad_error error;
    bool fine, is_new, dropped = true;

    (void)pthread_mutex_lock(&publisher->refreshing);
    is_new = publisher->pending == NULL;
    fine = commit(publisher, &error);
    if (fine && is_new && start_ns >= *drop_ns)
        dropped = drop_aside(publisher, start_ns);
    if (fine && is_new && start_ns >= *drop_ns && dropped)
        *drop_ns = start_ns + DROP_EVERY_NS;
    *interval_ns = publisher->common->conf->commit_interval_ns;
    note_rest(publisher, fine && dropped);
    (void)pthread_mutex_unlock(&publisher->refreshing);
    return fine;
}

static void *run_with_store(void *argument)
{
    struct publisher *publisher = argument;
    int64_t soonest_ns = 0, latest_ns = clock_steady_ns() + DROP_EVERY_NS;
    int64_t drop_ns = 0, interval_ns = 0;

    while (wait_for_news(publisher, soonest_ns, latest_ns)) {
        int64_t start_ns = clock_steady_ns();
        int64_t cpu_ns = clock_read_ns(CLOCK_THREAD_CPUTIME_ID);
        bool fine = commit_and_drop(publisher, start_ns, &drop_ns, &interval_ns);

        cpu_ns = clock_read_ns(CLOCK_THREAD_CPUTIME_ID) - cpu_ns;
        soonest_ns = fine ? next_commit_ns(start_ns, interval_ns, cpu_ns)
                          : next_commit_ns(start_ns, RETRY_NS, clock_steady_ns() - start_ns);
        latest_ns = fine ? start_ns + DROP_EVERY_NS : soonest_ns;
    }
    return NULL;
}

static void *run_without(void *argument)
{
    while (wait_for_news(argument, INT64_MAX, clock_steady_ns() + NS_PER_S))
        (void)publisher_refresh(argument);
    return NULL;
}

bool publisher_start(struct publisher *publisher, struct rasad_error *error)
{
    int why = pthread_create(&publisher->thread, NULL,
                             publisher->store != NULL ? run_with_store : run_without, publisher);

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
    (void)pthread_cond_signal(&publisher->news);
    (void)pthread_cond_broadcast(&publisher->answered); /* the shards may answer no more */
    (void)pthread_mutex_unlock(&publisher->lock);
    (void)pthread_join(publisher->thread, NULL);
    publisher->running = false;
}
