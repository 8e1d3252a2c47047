/* SPDX-License-Identifier: Apache-2.0 */
#include "connection.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/crc32c.h"
#include "handover/standing.h"
#include "protocol.h"

/* Replies are sent in between when so many lie, so that a burst of pings is no reason to close. */
#define SEND_AT (CONNECTION_MAX_UNSENT / 2)

/* A longer line is no hello of ours. */
#define MOST_AGAIN_BYTES (8 << 10)

int connection_shard(const char *name, size_t length, int shard_count)
{
    return (int)(agent_hash(name, length) % (uint32_t)shard_count);
}

struct connection *connection_new(int fd, const char *address, size_t max_message)
{
    struct connection *connection = calloc(1, sizeof *connection);

    if (connection == NULL) {
        (void)close(fd);
        return NULL;
    }
    connection->fd = fd;
    connection->frame = frame_make(max_message);
    (void)snprintf(connection->address, sizeof connection->address, "%s", address);
    return connection;
}

bool connection_ask_again(struct connection *connection)
{
    unsigned char random[(CONNECTION_AGAIN_LENGTH - 1) / 2];

    if (getrandom(random, sizeof random, 0) != (ssize_t)sizeof random)
        return false;
    for (size_t i = 0; i < sizeof random; i++)
        (void)snprintf(connection->again + 2 * i, 3, "%02x", random[i]);
    text_printf(&connection->out, "{\"@again\":\"%s\"}\n", connection->again);
    return true;
}

/* What the next process could make of the stream if this one were killed now. */
static enum standing_state place_of(const struct connection *connection)
{
    const struct frame *frame = &connection->frame;

    if (connection->ending || connection->reports)
        return STANDING_LOST;
    if (connection->named || connection->again[0] != '\0')
        return STANDING_NAMED;
    if (!frame_is_between(frame) || connection->in.length > 0)
        return connection->messages > 0 && !connection->shares_lines &&
                       (frame->traits & FRAME_NO_LINE) == 0
                   ? STANDING_TORN
                   : STANDING_LOST;
    if (connection->messages == 0)
        return STANDING_FRESH;
    return !connection->shares_lines && frame_is_between_lines(frame) ? STANDING_LINES
                                                                      : STANDING_RUN;
}

void connection_note_place(struct connection *connection)
{
    standing_set(connection->slot, place_of(connection));
}

void connection_make_report(struct connection *connection)
{
    connection->reports = true;
    connection->report = (struct report){.out = &connection->out};
}

struct sender connection_sender(struct connection *connection)
{
    return (struct sender){
        .agent = connection->agent,
        .address = connection->address,
        .report = connection->reports ? &connection->report : NULL,
    };
}

void connection_begin(struct connection *connection, struct connection_context *context)
{
    connection->shard = context->shard;
    if (connection->counts_as_agent || connection->agent != NULL)
        return; /* a handover: it was counted where it came in */
    connection->counts_as_agent = true;
    (void)atomic_fetch_add_explicit(context->agent_count, 1, memory_order_relaxed);
    counter_add(&context->ingest->counters.connections, 1);
}

void connection_take_agent(struct connection *connection, struct connection_context *context,
                           struct agent *agent)
{
    connection->agent = agent_ref(agent);
    agent->connections++;
    if (agent->connections == 1)
        atomic_store_explicit(&agent->connected_ns, context->ingest->wall_ns, memory_order_relaxed);
    if (agent->connections > 1) { /* one agent, however many connections it has */
        connection->counts_as_agent = false;
        (void)atomic_fetch_sub_explicit(context->agent_count, 1, memory_order_relaxed);
    }
    atomic_store_explicit(&agent->gone_since_ns, 0, memory_order_relaxed);
}

/* An unnamed sender is an agent from its first message on. */
static bool take_address_for_name(struct connection *connection, struct connection_context *context)
{
    struct agent *agent =
        agents_get(context->agents, connection->address, strlen(connection->address));

    if (agent == NULL)
        return false;
    connection_take_agent(connection, context, agent);
    return true;
}

/* One message of any kind has come to its end. */
static void take_message(struct connection *connection, struct connection_context *context,
                         enum frame_kind kind, const char *bytes, size_t length)
{
    static const enum reject reasons[] = {
        [FRAME_BAD_JSON] = REJECT_BAD_JSON,
        [FRAME_BAD_UTF8] = REJECT_BAD_UTF8,
        [FRAME_TOO_LONG] = REJECT_TOO_LONG,
        [FRAME_TRUNCATED] = REJECT_TRUNCATED,
    };
    struct ingest *ingest = context->ingest;
    struct sender sender = connection_sender(connection);

    sender.number =
        connection->stream != NULL ? connection->stream->applied + 1 : connection->messages + 1;
    counter_add(&ingest->counters.messages, 1);
    counter_add(&connection->agent->messages, 1);
    connection->messages++;
    if (kind == FRAME_OBJECT)
        ingest_object(ingest, &sender, bytes, length, connection->frame.traits);
    else
        ingest_refuse(ingest, &sender, NULL, reasons[kind], bytes, length);
    if (connection->stream == NULL)
        return;
    if (kind == FRAME_OBJECT)
        connection->frame.chain = crc32c(connection->frame.chain, bytes, length);
    connection->stream->applied++;
    connection->stream->chain = connection->frame.chain;
    agents_touch_stream(context->agents, connection->stream);
}

static enum connection_status take_framed(struct connection *connection,
                                          struct connection_context *context, enum frame_kind kind,
                                          const char *bytes, size_t length)
{
    if (kind == FRAME_DISCONNECT) {
        connection->why = "goodbye";
        return CONNECTION_ENDS;
    }
    if (kind == FRAME_OBJECT && (connection->frame.traits & FRAME_HAS_AT) != 0) {
        enum connection_status status;

        ingest_settle(context->ingest); /* a pong comes after what it was sent behind */
        status = protocol_object(connection, context, bytes, length, connection->frame.traits);
        if (status != CONNECTION_HANDOVER)
            counter_add(&context->ingest->counters.messages, 1);
        return status;
    }
    if (connection->agent == NULL && !take_address_for_name(connection, context))
        return CONNECTION_BROKEN;
    take_message(connection, context, kind, bytes, length);
    return CONNECTION_GOES_ON;
}

/* Keeps the bytes from `from` on for later. One long message must not cost memory for ever. */
static bool keep(struct connection *connection, const char *bytes, size_t from, size_t length)
{
    size_t rest = length - from;
    bool too_roomy =
        connection->in.capacity > 2 * CONNECTION_READ_BYTES && rest < connection->in.capacity / 8;
    struct text kept = {0};

    if (bytes == connection->in.at && !too_roomy) {
        memmove(connection->in.at, bytes + from, rest);
        connection->in.length = rest;
        return true;
    }
    if (!too_roomy && bytes != connection->in.at) {
        text_clear(&connection->in);
        text_add(&connection->in, bytes + from, rest);
        return !connection->in.failed;
    }
    text_add(&kept, bytes + from, rest);
    text_free(&connection->in);
    connection->in = kept;
    return !kept.failed;
}

/* A hello for another shard is read again there, as the first thing. */
static enum connection_status hand_over(struct connection *connection, const char *bytes,
                                        size_t hello, size_t length)
{
    uint64_t max_message = connection->frame.max_message;

    connection->frame = frame_make(max_message);
    if (!keep(connection, bytes, hello, length))
        return CONNECTION_BROKEN;
    return CONNECTION_HANDOVER;
}

/* Takes all messages that these bytes hold, and keeps the rest. */
static enum connection_status take_bytes(struct connection *connection,
                                         struct connection_context *context, const char *bytes,
                                         size_t length)
{
    enum connection_status status = CONNECTION_GOES_ON;
    enum frame_kind kind;
    size_t at, size;

    while (status == CONNECTION_GOES_ON &&
           (kind = frame_next(&connection->frame, bytes, length, &at, &size)) != FRAME_MORE) {
        connection->shares_lines |= (connection->frame.traits & FRAME_NO_LINE) != 0;
        status = take_framed(connection, context, kind, bytes + at, size);
        if (status == CONNECTION_HANDOVER)
            return hand_over(connection, bytes, at, length);
        if (status == CONNECTION_GOES_ON && connection->out.length >= SEND_AT)
            status = connection_flush(connection);
    }
    ingest_settle(context->ingest);
    protocol_acknowledge(connection, context);
    if (status != CONNECTION_GOES_ON)
        return status;
    if (!keep(connection, bytes, frame_drop(&connection->frame), length))
        return CONNECTION_BROKEN;
    return connection_flush(connection);
}

/* Whether the line is an object of the protocol with the digits that were asked for. */
static bool is_again(const struct connection *connection, struct connection_context *context,
                     const char *line, size_t length)
{
    struct frame frame = frame_make(MOST_AGAIN_BYTES);
    size_t at, size;

    return length <= MOST_AGAIN_BYTES &&
           memmem(line, length, connection->again, CONNECTION_AGAIN_LENGTH - 1) != NULL &&
           frame_next(&frame, line, length, &at, &size) == FRAME_OBJECT && at == 0 &&
           size == length && (frame.traits & FRAME_HAS_AT) != 0 &&
           protocol_is_again(context, line, length, frame.traits, connection->again);
}

/* Passes over all that isn't the hello that was asked for, line by line; with that the stream
 * begins. */
static enum connection_status await_again(struct connection *connection,
                                          struct connection_context *context, const char *bytes,
                                          size_t length)
{
    size_t at = 0;
    const char *end;

    while ((end = memchr(bytes + at, '\n', length - at)) != NULL) {
        size_t size = (size_t)(end - (bytes + at));

        if (is_again(connection, context, bytes + at, size)) {
            connection->again[0] = '\0';
            return take_bytes(connection, context, bytes + at, length - at);
        }
        at += size + 1;
    }
    /* Of a line that is too long so much stays that it remains so. */
    length = length - at > MOST_AGAIN_BYTES + 1 ? at + MOST_AGAIN_BYTES + 1 : length;
    return keep(connection, bytes, at, length) ? CONNECTION_GOES_ON : CONNECTION_BROKEN;
}

/* The peer sends no more. An unfinished message is refused, and replies still go out. */
static enum connection_status take_end(struct connection *connection,
                                       struct connection_context *context, const char *why)
{
    enum frame_kind kind = frame_end(&connection->frame);

    connection->why = why;
    /* A sender with a stream sends an unfinished message again. */
    if (kind != FRAME_MORE && connection->stream == NULL &&
        (connection->agent != NULL || take_address_for_name(connection, context)))
        take_message(connection, context, kind, connection->in.at, connection->in.length);
    ingest_settle(context->ingest);
    return CONNECTION_ENDS;
}

static void touch_agent(const struct connection *connection, int64_t wall_ns)
{
    if (connection->agent != NULL)
        atomic_store_explicit(&connection->agent->last_seen_ns, wall_ns, memory_order_relaxed);
}

static enum connection_status read_once(struct connection *connection,
                                        struct connection_context *context)
{
    size_t kept = connection->in.length;
    bool in_place = kept > CONNECTION_READ_BYTES;
    char *bytes = context->buffer;
    ssize_t got;

    /* A short rest goes in front of what is read; a long one is added to where it lies. */
    if (in_place) {
        if (!text_reserve(&connection->in, CONNECTION_READ_BYTES))
            return CONNECTION_BROKEN;
        bytes = connection->in.at;
    } else if (kept > 0) {
        memcpy(bytes, connection->in.at, kept);
    }
    do
        got = recv(connection->fd, bytes + kept, CONNECTION_READ_BYTES, MSG_DONTWAIT);
    while (got < 0 && errno == EINTR);
    if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
        return CONNECTION_GOES_ON;
    if (got <= 0)
        return take_end(connection, context, got == 0 ? "closed" : strerror(errno));
    touch_agent(connection, context->ingest->wall_ns);
    context->bytes_read += (uint64_t)got;
    if (connection->again[0] != '\0')
        return await_again(connection, context, bytes, kept + (size_t)got);
    return take_bytes(connection, context, bytes, kept + (size_t)got);
}

enum connection_status connection_read(struct connection *connection,
                                       struct connection_context *context)
{
    enum connection_status status;

    standing_begin_read(connection->slot);
    status = read_once(connection, context);
    connection_note_place(connection);
    return status;
}

enum connection_status connection_resume(struct connection *connection,
                                         struct connection_context *context)
{
    enum connection_status status;

    if (connection->again[0] != '\0')
        return CONNECTION_GOES_ON; /* a part of a line */
    status = take_bytes(connection, context, connection->in.at, connection->in.length);
    connection_note_place(connection);
    return status;
}

enum connection_status connection_flush(struct connection *connection)
{
    struct text *out = &connection->out;
    size_t sent = 0;

    if (out->failed)
        return CONNECTION_BROKEN;
    while (sent < out->length) {
        ssize_t n =
            send(connection->fd, out->at + sent, out->length - sent, MSG_DONTWAIT | MSG_NOSIGNAL);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno != EAGAIN && errno != EWOULDBLOCK) {
            connection->why = strerror(errno);
            return CONNECTION_BROKEN;
        }
        if (n <= 0)
            break;
        sent += (size_t)n;
    }
    if (sent > 0) {
        memmove(out->at, out->at + sent, out->length - sent);
        out->length -= sent;
    }
    if (out->length > CONNECTION_MAX_UNSENT) {
        connection->why = "it lets replies lie";
        return CONNECTION_BROKEN;
    }
    return CONNECTION_GOES_ON;
}

void connection_end(struct connection *connection, struct connection_context *context)
{
    struct agent *agent = connection->agent;

    if (connection->stream != NULL) {
        connection->stream->connection = NULL;
        connection->stream->last_used_ns = context->ingest->steady_ns;
        agents_touch_stream(context->agents, connection->stream);
    }
    if (agent != NULL && --agent->connections == 0)
        atomic_store_explicit(&agent->gone_since_ns, context->ingest->steady_ns,
                              memory_order_relaxed);
    /* The agent leaves with its last connection, whichever of them was counted. */
    if (agent != NULL ? agent->connections == 0 : connection->counts_as_agent)
        (void)atomic_fetch_sub_explicit(context->agent_count, 1, memory_order_relaxed);
}

void connection_say_goodbye(struct connection *connection)
{
    char ignored[4096];

    (void)shutdown(connection->fd, SHUT_WR);
    for (int i = 0; i < 256; i++) {
        if (recv(connection->fd, ignored, sizeof ignored, MSG_DONTWAIT) <= 0)
            break;
    }
}

void connection_free(struct connection *connection)
{
    if (connection == NULL)
        return;
    agent_unref(connection->agent);
    text_free(&connection->in);
    text_free(&connection->out);
    (void)close(connection->fd);
    free(connection);
}
