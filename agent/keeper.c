/* SPDX-License-Identifier: Apache-2.0 */
#include "keeper.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/gate.h"
#include "base/scoped.h"

/* So long a push waits for a disk that is merely slow, before messages are dropped. */
#define PATIENCE_NS NS_PER_S

/* How often a disk that fails or is full is tried again. */
#define RETRY_NS NS_PER_S

struct keeper {
    struct keeper_options options;
    pthread_t thread;
    bool started;

    pthread_mutex_t lock; /* of what follows up to the blank line */
    pthread_cond_t work;  /* there is some */
    pthread_cond_t kept;  /* some is done */
    bool stopping;
    bool has_news;
    bool is_stuck;   /* full, failing or slow: nobody waits for it */
    bool wants_room; /* somebody waits for event_fd */
    size_t server;   /* in use, or SPOOL_NO_SERVER */
    struct messages incoming;
    uint64_t lost;           /* dropped in front of them */
    uint64_t in_hand;        /* with the thread */
    bool is_working;         /* the thread works on `hand`: else that is the lock's as well */
    uint64_t pushed;         /* tickets given since the start */
    uint64_t done;           /* all up to this ticket are kept, dropped or taken back */
    enum spool_result state; /* of the thread's last round */
    struct rasad_error why;  /* that is SPOOL_BROKEN */
    uint64_t dropped;
    struct gate drop_gate; /* of the log lines about them */

    struct messages hand; /* see is_working */

    /* The thread's own. */
    uint64_t hand_lost;
    bool is_broken; /* which was logged */
    struct gate broken_gate;
    int64_t retry_ns;
    int64_t trim_ns; /* when to trim next */
};

static void ring(int fd)
{
    static const uint64_t one = 1;

    while (write(fd, &one, sizeof one) < 0 && errno == EINTR)
        continue; /* EAGAIN: it is readable anyhow */
}

/* A time on the steady clock, for the conditions. */
static struct timespec moment(int64_t steady_ns)
{
    return (struct timespec){.tv_sec = steady_ns / NS_PER_S, .tv_nsec = steady_ns % NS_PER_S};
}

/* ---- The thread ---- */

/* Notes how far it has come; with the lock held, and not while the thread works. */
static void settle(struct keeper *keeper)
{
    const struct message *first =
        keeper->hand.first != NULL ? keeper->hand.first : keeper->incoming.first;

    keeper->in_hand = keeper->hand.count;
    keeper->done = first != NULL ? first->ticket - 1 : keeper->pushed;
}

/* Takes what was pushed in hand; with the lock held. */
static void take_in_hand(struct keeper *keeper)
{
    keeper->is_working = true;
    if (keeper->hand.count > 0 || keeper->incoming.count == 0)
        return;
    keeper->hand = keeper->incoming;
    keeper->hand_lost += keeper->lost; /* of a hand that was taken back there may be some */
    keeper->incoming = (struct messages){0};
    keeper->lost = 0;
    keeper->in_hand = keeper->hand.count;
    if (keeper->wants_room)
        ring(keeper->options.event_fd);
    keeper->wants_room = false;
    (void)pthread_cond_broadcast(&keeper->kept);
}

/* What one round has come to. */
struct outcome {
    enum spool_result result;
    bool moved;  /* something has come on */
    bool is_new; /* it was about taking */
};

/* One group of whatever comes first. */
static struct outcome work_once(struct keeper *keeper, size_t server, struct rasad_error *error)
{
    struct spool *spool = keeper->options.spool;
    struct outcome outcome = {.result = SPOOL_DONE, .moved = true};

    if (spool_must_renew(spool))
        outcome.result = spool_renew(spool, error);
    else if (spool_can_move(spool, server))
        outcome.result = spool_move(spool, server, error);
    else
        outcome.is_new = true;
    if (outcome.is_new && keeper->hand.count > 0)
        outcome.result = spool_take(spool, server, &keeper->hand, &keeper->hand_lost, error);
    else if (outcome.is_new)
        outcome.moved = false;
    outcome.moved = outcome.moved && outcome.result == SPOOL_DONE;
    return outcome;
}

/* A disk that fails is given all the room that can be made, then told of once, and tried again. */
static struct outcome work(struct keeper *keeper, size_t server, struct rasad_error *error)
{
    const struct keeper_options *options = &keeper->options;
    struct outcome outcome = work_once(keeper, server, error);
    uint64_t ignored;

    if (outcome.result == SPOOL_BROKEN) {
        spool_relieve(options->spool, outcome.is_new);
        outcome = work_once(keeper, server, error);
    }
    keeper->retry_ns = clock_steady_ns() + RETRY_NS;
    if (outcome.result == SPOOL_BROKEN && !keeper->is_broken) {
        keeper->is_broken = gate_pass(&keeper->broken_gate, clock_steady_ns(), &ignored);
        if (keeper->is_broken)
            log_error(options->log, "the spool can't be written", log_text("reason", error->text));
    } else if (outcome.moved && keeper->is_broken) {
        log_plain(options->log, LOG_LEVEL_INFO, "the spool can be written again");
        keeper->is_broken = false;
    }
    return outcome;
}

/* Tells of what was done. */
static void report(struct keeper *keeper, struct outcome outcome, size_t server,
                   const struct rasad_error *error)
{
    (void)pthread_mutex_lock(&keeper->lock);
    keeper->is_working = false;
    settle(keeper);
    keeper->state = outcome.result;
    if (outcome.result == SPOOL_BROKEN)
        keeper->why = *error;
    if (outcome.moved)
        keeper->is_stuck = false;
    else if (outcome.result != SPOOL_DONE)
        keeper->is_stuck = true;
    (void)pthread_cond_broadcast(&keeper->kept);
    (void)pthread_mutex_unlock(&keeper->lock);
    if (outcome.moved && server != SPOOL_NO_SERVER)
        ring(keeper->options.wake_fd);
}

/* Waits until there is a reason for another round; false at the end. With the lock held. */
static bool wait_for_work(struct keeper *keeper, struct outcome last)
{
    int64_t until_ns = keeper->trim_ns;
    bool is_due = last.moved; /* there may be more of it */
    bool had_news;

    if (last.result != SPOOL_DONE && keeper->retry_ns < until_ns)
        until_ns = keeper->retry_ns;
    while (!is_due && !keeper->stopping && !keeper->has_news) {
        struct timespec until = moment(until_ns);

        if (last.result == SPOOL_DONE && keeper->incoming.count > 0)
            break;
        if (until_ns == INT64_MAX)
            (void)pthread_cond_wait(&keeper->work, &keeper->lock);
        else
            is_due = pthread_cond_timedwait(&keeper->work, &keeper->lock, &until) == ETIMEDOUT;
    }
    had_news = keeper->has_news;
    keeper->has_news = false;
    /* At the end all that goes without waiting still goes; after an ack there may be room. */
    return !keeper->stopping || last.moved || had_news ||
           (last.result == SPOOL_DONE && keeper->incoming.count > 0);
}

static void *run(void *argument)
{
    struct keeper *keeper = argument;
    struct outcome last = {.result = SPOOL_DONE, .moved = true};
    struct rasad_error error;

    for (;;) {
        size_t server;
        bool goes_on;

        keeper->trim_ns = spool_trim(keeper->options.spool, clock_steady_ns());
        (void)pthread_mutex_lock(&keeper->lock);
        goes_on = wait_for_work(keeper, last);
        take_in_hand(keeper);
        server = keeper->server;
        (void)pthread_mutex_unlock(&keeper->lock);
        if (!goes_on)
            return NULL;
        last = work(keeper, server, &error);
        report(keeper, last, server, &error);
    }
}

/* Starts the thread with all signals blocked: they are the main thread's. */
static bool start_thread(struct keeper *keeper, struct rasad_error *error)
{
    sigset_t all, before;
    int why;

    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    why = pthread_create(&keeper->thread, NULL, run, keeper);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (why != 0)
        return rasad_fail(error, "cannot start a thread: %s", strerror(why));
    keeper->started = true;
    return true;
}

static void init_conditions(struct keeper *keeper)
{
    pthread_condattr_t attributes;

    (void)pthread_condattr_init(&attributes);
    (void)pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    (void)pthread_cond_init(&keeper->work, &attributes);
    (void)pthread_cond_init(&keeper->kept, &attributes);
    (void)pthread_condattr_destroy(&attributes);
}

bool keeper_open(const struct keeper_options *options, struct keeper **out,
                 struct rasad_error *error)
{
    struct keeper *keeper = calloc(1, sizeof *keeper);

    if (keeper == NULL)
        return rasad_fail_memory(error);
    keeper->options = *options;
    keeper->server = SPOOL_NO_SERVER;
    keeper->drop_gate = gate_make(1, 1);
    keeper->drop_gate.interval_ns = 10 * NS_PER_S;
    keeper->broken_gate = keeper->drop_gate;
    (void)pthread_mutex_init(&keeper->lock, NULL);
    init_conditions(keeper);
    if (!start_thread(keeper, error)) {
        keeper_close(keeper);
        return false;
    }
    *out = keeper;
    return true;
}

/* ---- For others ---- */

static bool is_full(const struct keeper *keeper)
{
    return keeper->incoming.bytes >= keeper->options.most_bytes;
}

/* Drops the oldest that waits, until there is room; with the lock held. */
static void drop_oldest(struct keeper *keeper)
{
    uint64_t ignored;

    while (is_full(keeper)) {
        free(messages_take(&keeper->incoming));
        keeper->lost++;
        keeper->dropped++;
    }
    if (!keeper->is_working)
        settle(keeper);
    (void)pthread_cond_broadcast(&keeper->kept); /* somebody may have waited for one of them */
    if (gate_pass(&keeper->drop_gate, clock_steady_ns(), &ignored))
        log_warning(keeper->options.log, "the disk doesn't follow: the oldest messages are dropped",
                    log_number("dropped", (int64_t)keeper->dropped));
}

/* With the lock held. The last message may be larger than the room that is left. */
static bool make_room(struct keeper *keeper, struct rasad_error *error)
{
    struct timespec until;

    if (!is_full(keeper))
        return true;
    if (!keeper->options.drop_oldest)
        return rasad_fail(error, "the spool is full");
    until = moment(clock_steady_ns() + PATIENCE_NS);
    while (is_full(keeper) && !keeper->is_stuck)
        keeper->is_stuck = pthread_cond_timedwait(&keeper->kept, &keeper->lock, &until) != 0;
    if (is_full(keeper))
        drop_oldest(keeper);
    return true;
}

/* Gives a message its ticket; with the lock held. */
static void add(struct keeper *keeper, struct message *message, const void *owner)
{
    message->owner = owner;
    message->ticket = ++keeper->pushed;
    messages_add(&keeper->incoming, message);
    if (keeper->incoming.count == 1)
        (void)pthread_cond_signal(&keeper->work);
}

bool keeper_push(struct keeper *keeper, struct message *message, struct rasad_error *error)
{
    bool has_room;

    if (message->length > spool_longest(keeper->options.spool))
        return rasad_fail(error,
                          "a message of %zu bytes is too long for the spool, which takes %zu",
                          (size_t)message->length, spool_longest(keeper->options.spool));
    (void)pthread_mutex_lock(&keeper->lock);
    has_room = make_room(keeper, error);
    if (has_room)
        add(keeper, message, NULL);
    (void)pthread_mutex_unlock(&keeper->lock);
    return has_room;
}

/* The time when this patience ends. */
static int64_t end_of_patience_ns(int64_t patience_ns)
{
    int64_t now_ns = clock_steady_ns();

    return patience_ns < 0 || patience_ns > INT64_MAX - now_ns ? INT64_MAX : now_ns + patience_ns;
}

/* Waits for the thread to get something done; whether it is too late. With the lock held. */
static bool wait_kept(struct keeper *keeper, int64_t until_ns)
{
    struct timespec until = moment(until_ns);

    return pthread_cond_timedwait(&keeper->kept, &keeper->lock, &until) == ETIMEDOUT;
}

/* Adds what has, or gets, room in time; returns the last one's ticket. With the lock held. */
static uint64_t add_in_time(struct keeper *keeper, struct messages *messages, int64_t until_ns)
{
    uint64_t last = 0;
    bool is_late = false;

    while (messages->count > 0) {
        if (keeper->options.drop_oldest)
            (void)make_room(keeper, NULL);
        while (is_full(keeper) && !is_late)
            is_late = wait_kept(keeper, until_ns);
        if (is_full(keeper))
            break;
        add(keeper, messages_take(messages), messages);
        last = keeper->pushed;
    }
    return last;
}

/* Takes back what this owner still has waiting, in front of what it has kept. With the lock held,
 * and not while the thread works. */
static void take_back(struct keeper *keeper, struct messages *messages)
{
    struct messages back = {0};
    struct message *message;

    messages_take_from(&keeper->hand, messages, &back);
    messages_take_from(&keeper->incoming, messages, &back);
    while ((message = messages_take(messages)) != NULL)
        messages_add(&back, message);
    *messages = back;
    settle(keeper);
    keeper->has_news = true; /* what is shorter may fit */
    (void)pthread_cond_signal(&keeper->work);
    (void)pthread_cond_broadcast(&keeper->kept);
    ring(keeper->options.wake_fd); /* somebody may wait until nothing is pending */
}

enum spool_result keeper_put(struct keeper *keeper, struct messages *messages, int64_t patience_ns,
                             struct rasad_error *error)
{
    int64_t until_ns = end_of_patience_ns(patience_ns);
    enum spool_result result = SPOOL_DONE;
    uint64_t last;

    (void)pthread_mutex_lock(&keeper->lock);
    last = add_in_time(keeper, messages, until_ns);
    while (keeper->done < last) {
        /* In a round under way, or to come at once, nothing can be taken back. */
        bool rests = keeper->state != SPOOL_DONE && !keeper->is_working;

        if (rests && clock_steady_ns() >= until_ns) {
            take_back(keeper, messages);
            break;
        }
        (void)wait_kept(keeper, rests ? until_ns : INT64_MAX);
    }
    if (messages->count > 0) {
        result = keeper->state == SPOOL_BROKEN ? SPOOL_BROKEN : SPOOL_FULL;
        (void)rasad_fail(error, "%s",
                         result == SPOOL_BROKEN ? keeper->why.text : "the spool is full");
    }
    (void)pthread_mutex_unlock(&keeper->lock);
    return result;
}

bool keeper_has_room(struct keeper *keeper)
{
    bool has_room;

    (void)pthread_mutex_lock(&keeper->lock);
    has_room = !is_full(keeper);
    keeper->wants_room = keeper->wants_room || !has_room;
    (void)pthread_mutex_unlock(&keeper->lock);
    return has_room;
}

bool keeper_sync(struct keeper *keeper, int64_t timeout_ns)
{
    int64_t until_ns = end_of_patience_ns(timeout_ns);
    bool is_late = false, is_kept;
    uint64_t wanted;

    (void)pthread_mutex_lock(&keeper->lock);
    wanted = keeper->pushed;
    while (keeper->done < wanted && !is_late)
        is_late = wait_kept(keeper, until_ns);
    is_kept = keeper->done >= wanted;
    (void)pthread_mutex_unlock(&keeper->lock);
    return is_kept;
}

void keeper_steer(struct keeper *keeper, size_t server, bool has_news)
{
    (void)pthread_mutex_lock(&keeper->lock);
    if (has_news || keeper->server != server) {
        keeper->has_news = true;
        keeper->server = server;
        (void)pthread_cond_signal(&keeper->work);
    }
    (void)pthread_mutex_unlock(&keeper->lock);
}

struct keeper_counts keeper_counts(struct keeper *keeper)
{
    struct keeper_counts counts;

    (void)pthread_mutex_lock(&keeper->lock);
    counts = (struct keeper_counts){.waiting = keeper->incoming.count + keeper->in_hand,
                                    .dropped = keeper->dropped};
    (void)pthread_mutex_unlock(&keeper->lock);
    return counts;
}

void keeper_close(struct keeper *keeper)
{
    uint64_t left;

    if (keeper == NULL)
        return;
    if (keeper->started) {
        (void)pthread_mutex_lock(&keeper->lock);
        keeper->stopping = true;
        keeper->server = SPOOL_NO_SERVER; /* what isn't bound to a server yet stays free */
        (void)pthread_cond_signal(&keeper->work);
        (void)pthread_mutex_unlock(&keeper->lock);
        (void)pthread_join(keeper->thread, NULL);
    }
    left = keeper->hand.count + keeper->incoming.count;
    if (left > 0)
        log_error(keeper->options.log, "messages are lost: the spool has no room for them",
                  log_number("messages", (int64_t)left));
    messages_free(&keeper->hand);
    messages_free(&keeper->incoming);
    (void)pthread_cond_destroy(&keeper->work);
    (void)pthread_cond_destroy(&keeper->kept);
    (void)pthread_mutex_destroy(&keeper->lock);
    free(keeper);
}
