/* SPDX-License-Identifier: Apache-2.0 */
#include "shard.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/clock.h"
#include "crash.h"
#include "handover/standing.h"
#include "protocol.h"

/* Events of one round. */
#define ROUND_EVENTS 64

/* How often expired series are looked for, and how many table slots at a time. */
#define SWEEP_EVERY_NS (NS_PER_S / 2)
#define SWEEP_SLOTS 32768

/* A connection that has lived for so long is worth a dup in the service manager's store, to which
 * no more than so many are given with each sweep. A flood of short ones is none of its business. */
#define STORE_AFTER_NS NS_PER_S
#define STORED_AT_ONCE 32

/* How long the service manager may take for one when the server stops. */
#define STORE_WAIT_MS 1000

/* How long a sender that is asked to say hello again may take. */
#define AGAIN_NS (5 * NS_PER_S)

bool shard_open(struct shard *shard, struct shard_common *common, int index,
                struct rasad_error *error)
{
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};

    memset(shard, 0, sizeof *shard);
    shard->common = common;
    shard->index = index;
    shard->endings = gate_make(SHARD_LOGGED_PER_SECOND, SHARD_LOGGED_AT_ONCE);
    (void)pthread_mutex_init(&shard->mail_lock, NULL);
    agents_open(&shard->agents);
    shard->poller = epoll_create1(EPOLL_CLOEXEC);
    shard->bell = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (shard->poller < 0 || shard->bell < 0 ||
        epoll_ctl(shard->poller, EPOLL_CTL_ADD, shard->bell, &event) != 0)
        return rasad_fail(error, "cannot make a poller: %s", strerror(errno));
    shard->context = (struct connection_context){
        .ingest = &shard->ingest,
        .agents = &shard->agents,
        .shard = index,
        .shard_count = common->shard_count,
        .agent_count = &common->agent_count,
        .buffer = malloc(CONNECTION_BUFFER_BYTES),
    };
    if (!ingest_open(&shard->ingest, common->conf, common->log, common->families, index,
                     common->verbose) ||
        shard->context.buffer == NULL)
        return rasad_fail_memory(error);
    shard->ingest.taps = common->taps;
    shard->ingest.store.ids = common->series_ids;
    shard->agents.keeps_marks = common->series_ids != NULL;
    return true;
}

static void ring(struct shard *shard)
{
    /* The count can't overflow, and a full one rings as well. */
    (void)eventfd_write(shard->bell, 1);
}

void shard_give(struct shard *shard, struct connection *connection)
{
    connection->next = NULL;
    (void)pthread_mutex_lock(&shard->mail_lock);
    if (shard->last_mail != NULL)
        shard->last_mail->next = connection;
    else
        shard->first_mail = connection;
    shard->last_mail = connection;
    (void)pthread_mutex_unlock(&shard->mail_lock);
    atomic_store_explicit(&shard->has_mail, true, memory_order_release);
    ring(shard);
}

void shard_give_marks(struct shard *shard, struct marks *marks)
{
    marks->next = NULL;
    (void)pthread_mutex_lock(&shard->mail_lock);
    if (shard->last_marks != NULL)
        shard->last_marks->next = marks;
    else
        shard->first_marks = marks;
    shard->last_marks = marks;
    (void)pthread_mutex_unlock(&shard->mail_lock);
    atomic_store_explicit(&shard->has_mail, true, memory_order_release);
    ring(shard);
}

void shard_want_all(struct shard *shard)
{
    atomic_store_explicit(&shard->wants_all, true, memory_order_relaxed);
}

void shard_want_cut(struct shard *shard, uint64_t ticket, bool all)
{
    if (all)
        shard_want_all(shard);
    atomic_store_explicit(&shard->wanted_cut, ticket, memory_order_release);
    ring(shard);
}

void shards_wake(struct shard *shards, int count)
{
    for (int i = 0; i < count; i++)
        ring(&shards[i]);
}

void shard_take_conf(struct shard *shard, const struct conf *conf)
{
    shard->ingest.conf = conf;
    key_cache_free(&shard->ingest.keys); /* it knows families that may have ended */
}

static void tell_time(struct shard *shard)
{
    shard->ingest.wall_ns = clock_wall_ns();
    shard->ingest.steady_ns = clock_steady_ns();
}

static void link_connection(struct shard *shard, struct connection *connection)
{
    connection->previous = NULL;
    connection->next = shard->connections;
    if (connection->next != NULL)
        connection->next->previous = connection;
    shard->connections = connection;
    shard->unstored += !connection->is_stored;
}

static void unlink_connection(struct shard *shard, struct connection *connection)
{
    shard->unstored -= !connection->is_stored;
    if (connection->next != NULL)
        connection->next->previous = connection->previous;
    if (connection->previous != NULL)
        connection->previous->next = connection->next;
    else
        shard->connections = connection->next;
}

static void log_end(struct shard *shard, const struct connection *connection, int64_t left)
{
    const struct agent *agent = connection->agent;
    uint64_t more;

    if (!gate_pass(&shard->endings, shard->ingest.steady_ns, &more))
        return;
    log_info(shard->common->log, "connection closed", log_text("address", connection->address),
             log_text("agent", agent != NULL ? agent->name : connection->address),
             log_text("reason", connection->why != NULL ? connection->why : "closed"),
             log_number("messages", (int64_t)connection->messages));
    log_info(shard->common->log, "active connections", log_number("count", left));
}

/* Out of the books at once; freed at the end of the round, for its events may still be listed. */
static void close_connection(struct shard *shard, struct connection *connection)
{
    int64_t left = atomic_fetch_sub(&shard->common->connection_count, 1) - 1;

    (void)epoll_ctl(shard->poller, EPOLL_CTL_DEL, connection->fd, NULL);
    unlink_connection(shard, connection);
    connection_end(connection, &shard->context);
    standing_end(shard->common->standing, connection->slot, connection->fd, connection->is_stored);
    connection->slot = NULL;
    log_end(shard, connection, left);
    connection->ending = true;
    connection->next = shard->ended;
    shard->ended = connection;
}

static void free_ended(struct shard *shard)
{
    while (shard->ended != NULL) {
        struct connection *connection = shard->ended;

        shard->ended = connection->next;
        connection_free(connection);
    }
}

/* Sets what the poller waits for: room to write only while there is something unsent. */
static void poll_for(struct shard *shard, struct connection *connection)
{
    bool wants = connection->out.length > 0;
    struct epoll_event event = {.events =
                                    (connection->ending ? 0 : EPOLLIN) | (wants ? EPOLLOUT : 0),
                                .data.ptr = connection};

    if (wants == connection->wants_to_write && !connection->ending)
        return;
    connection->wants_to_write = wants;
    (void)epoll_ctl(shard->poller, EPOLL_CTL_MOD, connection->fd, &event);
}

static void hand_over(struct shard *shard, struct connection *connection)
{
    (void)epoll_ctl(shard->poller, EPOLL_CTL_DEL, connection->fd, NULL);
    unlink_connection(shard, connection);
    connection->wants_to_write = false;
    shard_give(&shard->common->shards[connection->shard], connection);
}

/* Whether its sender, who has said all, has heard all: its last ack comes with the next commit. */
static bool has_heard_all(const struct connection *connection)
{
    return connection->out.length == 0 &&
           (connection->stream == NULL || connection->acknowledged >= connection->stream->applied);
}

/* Nothing more is read from it; what it has left unfinished means nothing any more. */
static void stop_reading(struct connection *connection)
{
    connection->ending = true;
    connection->frame = frame_make(connection->frame.max_message);
    text_clear(&connection->in);
    connection_note_place(connection);
}

/* What becomes of a connection after its bytes were taken. */
static void settle(struct shard *shard, struct connection *connection,
                   enum connection_status status)
{
    struct connection *fenced = shard->context.fenced;

    shard->context.fenced = NULL;
    if (fenced != NULL)
        close_connection(shard, fenced);
    if (status == CONNECTION_ENDS) {
        status = connection_flush(connection);
        stop_reading(connection);
        if (status == CONNECTION_GOES_ON && has_heard_all(connection)) {
            connection_say_goodbye(connection);
            status = CONNECTION_BROKEN;
        }
    }
    if (status == CONNECTION_BROKEN)
        close_connection(shard, connection);
    else if (status == CONNECTION_HANDOVER)
        hand_over(shard, connection);
    else
        poll_for(shard, connection);
}

static void take_connection(struct shard *shard, struct connection *connection)
{
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = connection};

    connection_begin(connection, &shard->context);
    link_connection(shard, connection);
    if (shard->common->is_left)
        return;
    if (connection->begun_ns == 0)
        connection->begun_ns = shard->ingest.steady_ns;
    if (connection->again[0] != '\0')
        shard->again_until_ns = shard->ingest.steady_ns + AGAIN_NS;
    if (epoll_ctl(shard->poller, EPOLL_CTL_ADD, connection->fd, &event) != 0) {
        connection->why = strerror(errno);
        close_connection(shard, connection);
        return;
    }
    if (connection->ending)
        settle(shard, connection, CONNECTION_ENDS);
    else if (connection->in.length > 0)
        settle(shard, connection, connection_resume(connection, &shard->context));
    else if (connection->out.length > 0)
        settle(shard, connection, connection_flush(connection));
}

/* What is on disk is acknowledged, where its sender is there to hear it. */
static void take_marks(struct shard *shard, struct marks *marks)
{
    for (size_t i = 0; i < marks->count; i++) {
        struct stream *stream = agents_take_mark(&shard->agents, &marks->at[i]);
        struct connection *connection = stream != NULL ? stream->connection : NULL;

        if (connection == NULL)
            continue;
        protocol_acknowledge(connection, &shard->context);
        settle(shard, connection,
               connection->ending ? CONNECTION_ENDS : connection_flush(connection));
    }
    shard->unsettled_bytes -= marks->bytes;
    free(marks);
}

static void take_mail(struct shard *shard)
{
    struct connection *mail;
    struct marks *marks;

    if (!atomic_exchange_explicit(&shard->has_mail, false, memory_order_acquire))
        return;
    (void)pthread_mutex_lock(&shard->mail_lock);
    mail = shard->first_mail;
    marks = shard->first_marks;
    shard->first_mail = NULL;
    shard->last_mail = NULL;
    shard->first_marks = NULL;
    shard->last_marks = NULL;
    (void)pthread_mutex_unlock(&shard->mail_lock);
    while (marks != NULL) {
        struct marks *next = marks->next;

        take_marks(shard, marks);
        marks = next;
    }
    while (mail != NULL) {
        struct connection *connection = mail;

        mail = mail->next;
        take_connection(shard, connection);
    }
}

struct cut *shard_cut(struct shard *shard)
{
    struct marks *marks;
    struct cut *cut = NULL;

    if (atomic_exchange_explicit(&shard->wants_all, false, memory_order_relaxed)) {
        series_mark_all(&shard->ingest.store);
        agents_touch_all(&shard->agents);
    }
    if (agents_reserve_marks(&shard->agents, &marks))
        cut = series_cut(&shard->ingest.store);
    if (cut == NULL) {
        free(marks);
        return NULL;
    }
    agents_mark(&shard->agents, marks);
    if (marks != NULL)
        marks->bytes = shard->context.bytes_read;
    shard->unsettled_bytes += marks != NULL ? shard->context.bytes_read : 0;
    shard->context.bytes_read = 0;
    shard->has_noted = false;
    shard->has_hurried = false;
    cut->marks = marks;
    cut->shard = shard->index;
    return cut;
}

static void grant_cut(struct shard *shard)
{
    uint64_t wanted = atomic_load_explicit(&shard->wanted_cut, memory_order_acquire);

    if (wanted == shard->made_cut)
        return;
    shard->made_cut = wanted;
    shard->common->take_cut(shard->common->take_cut_context, shard->index, shard_cut(shard),
                            wanted);
}

/* How much of what a shard may have read and not settled it has. */
static uint64_t unsettled(const struct shard *shard)
{
    return shard->unsettled_bytes + shard->context.bytes_read;
}

static uint64_t most_unsettled(const struct shard *shard)
{
    return SHARDS_MOST_UNSETTLED / (uint64_t)shard->common->shard_count;
}

/* Whether so much is unsettled that nothing is read. */
static bool is_full(const struct shard *shard)
{
    return shard->common->note != NULL && unsettled(shard) > most_unsettled(shard);
}

/* Says so if there is something for the next cut. What was read and has changed nothing, such as
 * rubbish, waits for no commit. */
static void note_news(struct shard *shard)
{
    bool is_urgent;

    if (shard->ingest.store.dirty_count == 0 && shard->agents.dirty_count == 0) {
        shard->context.bytes_read = 0;
        return;
    }
    is_urgent = unsettled(shard) > most_unsettled(shard) / 2;
    if (shard->common->note == NULL || (shard->has_noted && (!is_urgent || shard->has_hurried)))
        return;
    shard->has_noted = true;
    shard->has_hurried |= is_urgent;
    shard->common->note(shard->common->take_cut_context, is_urgent);
}

/* Between two batches: what others want. */
static void heed_others(struct shard *shard)
{
    int64_t stood_ns;

    counter_add(&shard->pulse, 1);
    grant_cut(shard);
    if (!standstill_is_wanted(&shard->common->standstill))
        return;
    stood_ns = clock_steady_ns();
    standstill_join(&shard->common->standstill, shard->index);
    tell_time(shard);
    if (shard->again_until_ns != 0)
        shard->again_until_ns += shard->ingest.steady_ns - stood_ns;
}

/* Gives the service manager a dup of one; false if it is too busy, or has no room. */
static bool store_connection(struct shard *shard, struct connection *connection, int wait_ms)
{
    bool was_stored = false;

    if (connection->slot == NULL)
        connection->slot = standing_claim(shard->common->standing, connection->fd,
                                          connection->address, STANDING_LOST, &was_stored);
    if (connection->slot == NULL)
        return false;
    connection_note_place(connection);
    if (!standing_store(connection->slot, connection->fd, wait_ms))
        return false;
    connection->is_stored = true;
    shard->unstored--;
    return true;
}

/* Answers of clients of the admin socket are no connection to come back to. */
static bool is_worth_storing(const struct connection *connection, int64_t now_ns)
{
    return !connection->is_stored && !connection->reports && !connection->ending &&
           now_ns - connection->begun_ns >= STORE_AFTER_NS;
}

/* Those that have lived for a while. */
static void store_connections(struct shard *shard, int64_t now_ns)
{
    int left = STORED_AT_ONCE;

    if (shard->common->standing == NULL)
        return;
    standing_tell(shard->common->standing);
    if (shard->unstored == 0)
        return;
    for (struct connection *at = shard->connections; at != NULL && left > 0; at = at->next) {
        if (!is_worth_storing(at, now_ns))
            continue;
        if (!store_connection(shard, at, 0))
            return;
        left--;
    }
}

void shards_store_connections(struct shard *shards, int count)
{
    for (int i = 0; i < count; i++) {
        for (struct connection *at = shards[i].connections; at != NULL; at = at->next) {
            if (!at->is_stored && !store_connection(&shards[i], at, STORE_WAIT_MS))
                return;
        }
    }
}

/* Who was asked to say hello again, and did not. */
static void close_silent(struct shard *shard, int64_t now_ns)
{
    struct connection *next;

    if (shard->again_until_ns != 0 && is_full(shard))
        shard->again_until_ns = now_ns + AGAIN_NS; /* nobody can be heard */
    if (shard->again_until_ns == 0 || now_ns < shard->again_until_ns)
        return;
    shard->again_until_ns = 0;
    for (struct connection *at = shard->connections; at != NULL; at = next) {
        next = at->next;
        if (at->again[0] == '\0')
            continue;
        at->why = "it did not say hello again";
        close_connection(shard, at);
    }
}

static void sweep(struct shard *shard)
{
    const struct conf *conf = shard->common->conf;
    int64_t now_ns = shard->ingest.steady_ns;
    const struct series_limits limits = {.now_ns = now_ns,
                                         .anonymous_expire_ns = conf->anonymous_expire_ns};

    if (now_ns < shard->next_sweep_ns)
        return;
    shard->next_sweep_ns = now_ns + SWEEP_EVERY_NS;
    close_silent(shard, now_ns);
    store_connections(shard, now_ns);
    /* All of a large table in some ten seconds, whatever its size. */
    series_sweep(&shard->ingest.store, SWEEP_SLOTS + shard->ingest.store.table.mask / 20, &limits);
    agents_sweep(&shard->agents, &shard->agent_sweep_slot, SWEEP_SLOTS,
                 conf->agent_ttl_ns > 0 ? now_ns - conf->agent_ttl_ns : INT64_MIN);
}

static void take_event(struct shard *shard, const struct epoll_event *event)
{
    struct connection *connection = event->data.ptr;
    enum connection_status status = CONNECTION_GOES_ON;

    if (connection == NULL) {
        eventfd_t count;

        (void)eventfd_read(shard->bell, &count);
        return;
    }
    if ((event->events & EPOLLOUT) != 0) {
        status = connection_flush(connection);
        if (connection->ending && status == CONNECTION_GOES_ON)
            status = CONNECTION_ENDS;
    }
    if (status == CONNECTION_GOES_ON && !connection->ending &&
        (event->events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0)
        status = connection_read(connection, &shard->context);
    else if (connection->ending && (event->events & (EPOLLHUP | EPOLLERR)) != 0)
        status = CONNECTION_BROKEN; /* nobody is left to hear the replies */
    settle(shard, connection, status);
}

/* Whether a connection was closed in this round, so that its events mean nothing any more. */
static bool is_ended(const struct shard *shard, const struct connection *connection)
{
    const struct connection *ended = shard->ended;

    while (ended != NULL && ended != connection)
        ended = ended->next;
    return ended != NULL;
}

/* The events of a round. While too much is unsettled, only the bell counts. */
static int await_events(const struct shard *shard, struct epoll_event *events, int timeout_ms)
{
    struct pollfd bell = {.fd = shard->bell, .events = POLLIN};

    if (!is_full(shard))
        return epoll_wait(shard->poller, events, ROUND_EVENTS, timeout_ms);
    events[0] = (struct epoll_event){.events = EPOLLIN, .data.ptr = NULL};
    return poll(&bell, 1, timeout_ms);
}

static void take_round(struct shard *shard, int timeout_ms)
{
    struct epoll_event events[ROUND_EVENTS];
    int count = await_events(shard, events, timeout_ms);

    tell_time(shard);
    for (int i = 0; i < count; i++) {
        if (shard->ended == NULL || !is_ended(shard, events[i].data.ptr))
            take_event(shard, &events[i]);
        heed_others(shard);
    }
    take_mail(shard);
    heed_others(shard);
    sweep(shard);
    free_ended(shard);
    note_news(shard);
}

/* Applies what the socket holds at this moment, and not what its sender goes on to send. */
static void drain_connection(struct shard *shard, struct connection *connection)
{
    enum connection_status status = CONNECTION_GOES_ON;
    int there = 0;

    connection->drained = true;
    if (ioctl(connection->fd, FIONREAD, &there) != 0)
        return;
    for (int rounds = there / CONNECTION_READ_BYTES + 1; rounds > 0; rounds--) {
        if (status != CONNECTION_GOES_ON || connection->ending)
            break;
        status = connection_read(connection, &shard->context);
        if (shard->context.fenced != NULL)
            shard->context.fenced->ending = true;
        shard->context.fenced = NULL;
    }
    if (status == CONNECTION_HANDOVER) {
        connection->drained = false;
        hand_over(shard, connection);
    } else if (status != CONNECTION_GOES_ON) {
        (void)connection_flush(connection);
        stop_reading(connection);
    }
}

/* Each connection that wasn't drained yet. */
static void drain(struct shard *shard)
{
    struct connection *next;

    if (shard->common->is_left)
        return;
    tell_time(shard);
    take_mail(shard);
    for (struct connection *connection = shard->connections; connection != NULL;
         connection = next) {
        next = connection->next;
        if (!connection->drained)
            drain_connection(shard, connection);
    }
    free_ended(shard);
}

static void *run(void *argument)
{
    struct shard *shard = argument;

    crash_use_stack();
    shard->place = &crash_place;
    counter_add(&shard->pulse, 1);
    tell_time(shard);
    while (!atomic_load_explicit(&shard->stopping, memory_order_acquire))
        take_round(shard, (int)(SWEEP_EVERY_NS / NS_PER_MS));
    drain(shard);
    return NULL;
}

bool shard_start(struct shard *shard, struct rasad_error *error)
{
    int why = pthread_create(&shard->thread, NULL, run, shard);

    if (why != 0)
        return rasad_fail(error, "cannot start a thread: %s", strerror(why));
    shard->running = true;
    return true;
}

static void close_connections(struct shard *shard, const char *why)
{
    take_mail(shard);
    while (shard->connections != NULL) {
        if (shard->connections->why == NULL)
            shard->connections->why = why;
        close_connection(shard, shard->connections);
    }
    free_ended(shard);
}

void shards_stop(struct shard *shards, int count)
{
    for (int i = 0; i < count; i++) {
        atomic_store_explicit(&shards[i].stopping, true, memory_order_release);
        ring(&shards[i]);
    }
    for (int i = 0; i < count; i++) {
        if (shards[i].running)
            (void)pthread_join(shards[i].thread, NULL);
        shards[i].running = false;
    }
    /* From here on there is one thread, for what changed hands while the others ended. */
    for (int i = 0; i < 2 * count; i++)
        drain(&shards[i % count]);
}

void shards_acknowledge(struct shard *shards, int count)
{
    for (int i = 0; i < count; i++)
        take_mail(&shards[i]);
}

void shards_close_connections(struct shard *shards, int count, const char *why)
{
    for (int i = 0; i < count; i++)
        close_connections(&shards[i], why);
}

void shard_close(struct shard *shard)
{
    ingest_close(&shard->ingest);
    agents_close(&shard->agents);
    free(shard->context.buffer);
    if (shard->poller >= 0)
        (void)close(shard->poller);
    if (shard->bell >= 0)
        (void)close(shard->bell);
    (void)pthread_mutex_destroy(&shard->mail_lock);
}

uint64_t shards_sum(const struct shard *shards, int count, size_t offset)
{
    uint64_t total = 0;

    for (int i = 0; i < count; i++) {
        const char *counters = (const char *)&shards[i].ingest.counters;

        total += counter_read((const _Atomic uint64_t *)(const void *)(counters + offset));
    }
    return total;
}
