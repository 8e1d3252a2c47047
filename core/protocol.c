/* SPDX-License-Identifier: Apache-2.0 */
#include "protocol.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/planted.h"
#include "base/scoped.h"
#include "base/utf8.h"
#include "hash.h"

#define MAX_AGENT_NAME 255
#define MAX_PING 256

/* Two processes that take turns so often both live. */
#define TURNS_OF_TWO 8

/* What a hello says. */
struct hello {
    const char *agent;
    size_t agent_length;
    bool has_stream, has_first, has_chain;
    unsigned char stream[16];
    uint64_t first;    /* the oldest message that the sender still has */
    uint32_t chain;    /* before it */
    uint32_t instance; /* a hash of it; 0 if there is none */
};

/* Misuse of the protocol: the sender is told, and the connection ends. */
static enum connection_status misuse(struct connection *connection, const char *reason,
                                     const char *text)
{
    text_printf(&connection->out, "{\"@error\":{\"reason\":\"%s\",\"text\":\"%s\"}}\n", reason,
                text);
    connection->why = text;
    return CONNECTION_ENDS;
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return -1;
}

/* 2 * size lower-case hexadecimal digits, and nothing else. */
static bool read_hex(json_object *json, unsigned char *bytes, size_t size)
{
    const char *text;

    if (!json_object_is_type(json, json_type_string) ||
        (size_t)json_object_get_string_len(json) != 2 * size)
        return false;
    text = json_object_get_string(json);
    for (size_t i = 0; i < size; i++) {
        int high = hex_digit(text[2 * i]), low = hex_digit(text[2 * i + 1]);

        if (high < 0 || low < 0)
            return false;
        bytes[i] = (unsigned char)(high << 4 | low);
    }
    return true;
}

static bool read_chain(json_object *json, uint32_t *chain)
{
    unsigned char bytes[4];

    if (!read_hex(json, bytes, sizeof bytes))
        return false;
    *chain =
        (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 | bytes[3];
    return true;
}

/* A number of a message: a whole one, at least `least`. */
static bool read_message_number(json_object *json, int64_t least, uint64_t *number)
{
    if (!json_object_is_type(json, json_type_int) || json_object_get_int64(json) < least)
        return false;
    *number = (uint64_t)json_object_get_int64(json);
    return true;
}

static bool is_agent_name(const char *name, size_t length)
{
    if (length < 1 || length > MAX_AGENT_NAME)
        return false;
    for (size_t i = 0; i < length;) {
        uint32_t point;
        size_t taken = utf8_decode(name + i, length - i, &point);

        if (taken == 0 || point < 0x20 || (point >= 0x7f && point < 0xa0))
            return false;
        i += taken;
    }
    return true;
}

/* What tells a sender's processes apart; never 0. */
static uint32_t hash_instance(json_object *json)
{
    const char *text = json_object_get_string(json);
    uint32_t hash = text != NULL ? hash_bytes(text, strlen(text)) : 0;

    return hash != 0 ? hash : 1;
}

/* Reads what a hello says; on false the text tells what is wrong with it. */
static bool read_hello(json_object *json, struct hello *hello, const char **wrong)
{
    json_object *member;

    memset(hello, 0, sizeof *hello);
    *wrong = "agent must be 1 to 255 bytes of UTF-8 without control characters";
    if (!json_object_object_get_ex(json, "agent", &member) ||
        !json_object_is_type(member, json_type_string))
        return false;
    hello->agent = json_object_get_string(member);
    hello->agent_length = (size_t)json_object_get_string_len(member);
    if (!is_agent_name(hello->agent, hello->agent_length))
        return false;
    *wrong = "stream must be 32 lower-case hexadecimal digits";
    hello->has_stream = json_object_object_get_ex(json, "stream", &member);
    if (hello->has_stream && !read_hex(member, hello->stream, sizeof hello->stream))
        return false;
    *wrong = "first must be the number of a message";
    hello->has_first = json_object_object_get_ex(json, "first", &member);
    if (hello->has_first && !read_message_number(member, 1, &hello->first))
        return false;
    if (json_object_object_get_ex(json, "instance", &member))
        hello->instance = hash_instance(member);
    *wrong = "chain must be 8 lower-case hexadecimal digits";
    hello->has_chain = json_object_object_get_ex(json, "chain", &member);
    return !hello->has_chain || read_chain(member, &hello->chain);
}

/* Nothing more is applied from the connection that had this stream before. */
static void fence(struct connection *connection, struct connection_context *context,
                  struct stream *stream)
{
    struct connection *older = stream->connection;

    if (planted_bug("no-fencing"))
        older = NULL;
    if (older != NULL && older != connection) {
        assert(older->shard == context->shard); /* an agent's streams are all in its shard */
        older->stream = NULL;
        older->why = "another connection took over its stream";
        context->fenced = older;
    }
    stream->connection = connection;
}

/* Numbers up to `to` will never come: the sender has dropped them. */
static void pass_hole(struct agents *agents, struct stream *stream, uint64_t to, uint32_t chain)
{
    (void)atomic_fetch_add_explicit(&stream->agent->dropped, to - stream->applied,
                                    memory_order_relaxed);
    stream->applied = to;
    stream->chain = chain;
    agents_touch_stream(agents, stream);
}

/* What of a stream may be acknowledged. */
static uint64_t safe_number(const struct agents *agents, const struct stream *stream)
{
    return agents->keeps_marks && !planted_bug("ack-before-commit") ? stream->committed
                                                                    : stream->applied;
}

/*
 * A process that ended never comes back, but for a hello of its that was late on its way. If the
 * one before the last says hello again and again, both live, with one spool or a copy of it. What
 * they send under one number may be the same bytes, which no chain tells.
 */
static void note_instance(const struct connection *connection,
                          const struct connection_context *context, struct stream *stream,
                          uint32_t instance)
{
    if (instance == 0 || instance == stream->instance)
        return;
    stream->turns = instance == stream->former_instance ? stream->turns + 1 : 0;
    stream->former_instance = stream->instance;
    stream->instance = instance;
    if (stream->turns != TURNS_OF_TWO)
        return;
    (void)atomic_fetch_add_explicit(&stream->agent->forks, 1, memory_order_relaxed);
    log_warning(context->ingest->log,
                "two processes send one stream (was a machine, or its spool, copied? begin a "
                "new spool on one of them)",
                log_text("agent", stream->agent->name), log_text("address", connection->address));
}

static bool take_stream(struct connection *connection, struct connection_context *context,
                        const struct hello *hello)
{
    struct stream *stream = agents_get_stream(context->agents, connection->agent, hello->stream);

    if (stream == NULL)
        return false;
    fence(connection, context, stream);
    note_instance(connection, context, stream, hello->instance);
    if (hello->has_first && hello->first - 1 > stream->applied)
        pass_hole(context->agents, stream, hello->first - 1, hello->chain);
    else if (hello->has_first && hello->has_chain && hello->first - 1 == stream->applied &&
             hello->chain != stream->chain)
        (void)atomic_fetch_add_explicit(&stream->agent->forks, 1, memory_order_relaxed);
    stream->last_used_ns = context->ingest->steady_ns;
    agents_touch_stream(context->agents, stream); /* that it is in use is worth keeping */
    connection->stream = stream;
    connection->frame.chain = stream->chain;
    connection->frame.numbered = true;
    connection->acknowledged = safe_number(context->agents, stream);
    return true;
}

/* The connection speaks for a named agent from now on. */
static bool take_name(struct connection *connection, struct connection_context *context,
                      const struct hello *hello)
{
    struct agent *agent = agents_get(context->agents, hello->agent, hello->agent_length);

    if (agent == NULL)
        return false;
    connection_take_agent(connection, context, agent);
    connection->named = true;
    atomic_store_explicit(&agent->named, true, memory_order_relaxed);
    atomic_store_explicit(&agent->last_seen_ns, context->ingest->wall_ns, memory_order_relaxed);
    agents_note_address(context->agents, agent, connection->address);
    log_info(context->ingest->log, "agent connected", log_text("agent", agent->name),
             log_text("address", connection->address));
    return true;
}

static bool is_same_sender(const struct connection *connection, const struct hello *hello)
{
    const struct stream *stream = connection->stream;

    return connection->agent->length == hello->agent_length &&
           memcmp(connection->agent->name, hello->agent, hello->agent_length) == 0 &&
           (stream != NULL) == hello->has_stream &&
           (stream == NULL || memcmp(stream->id, hello->stream, sizeof stream->id) == 0);
}

static void welcome(struct connection *connection, const struct connection_context *context)
{
    const struct stream *stream = connection->stream;
    uint64_t applied = stream != NULL ? stream->applied : 0;
    uint64_t committed = stream != NULL ? safe_number(context->agents, stream) : 0;

    text_printf(&connection->out,
                "{\"@welcome\":{\"applied\":%" PRIu64 ",\"committed\":%" PRIu64
                ",\"chain\":\"%08" PRIx32 "\"}}\n",
                applied, committed, stream != NULL ? stream->chain : 0);
}

static enum connection_status on_hello(struct connection *connection,
                                       struct connection_context *context, json_object *json)
{
    struct hello hello;
    const char *wrong;

    if (!read_hello(json, &hello, &wrong))
        return misuse(connection, "bad_hello", wrong);
    if (connection->messages > 0 && !connection->named)
        return misuse(connection, "late_hello", "hello must come before any message");
    if (connection->named && !is_same_sender(connection, &hello))
        return misuse(connection, "bad_hello", "a connection speaks for one agent and stream");
    connection->shard = connection_shard(hello.agent, hello.agent_length, context->shard_count);
    if (connection->shard != context->shard)
        return CONNECTION_HANDOVER;
    if (!connection->named && !take_name(connection, context, &hello))
        return CONNECTION_BROKEN;
    if (hello.has_stream && !take_stream(connection, context, &hello))
        return CONNECTION_BROKEN;
    welcome(connection, context);
    return CONNECTION_GOES_ON;
}

static enum connection_status on_skip(struct connection *connection,
                                      struct connection_context *context, json_object *json)
{
    struct stream *stream = connection->stream;
    json_object *to, *member;
    uint64_t number;
    uint32_t chain;

    if (stream == NULL)
        return misuse(connection, "bad_skip", "skip is for a sender with a stream");
    if (!json_object_object_get_ex(json, "to", &to) || !read_message_number(to, 0, &number) ||
        !json_object_object_get_ex(json, "chain", &member) || !read_chain(member, &chain))
        return misuse(connection, "bad_skip", "skip wants a number in to and a chain");
    if (number > stream->applied) {
        pass_hole(context->agents, stream, number, chain);
        connection->frame.chain = chain;
    }
    return CONNECTION_GOES_ON;
}

/* What came as X goes back as it was written, but for blanks. */
static enum connection_status on_ping(struct connection *connection,
                                      struct connection_context *context, json_object *json,
                                      const char *bytes, size_t length)
{
    static const char too_long[] = "a ping of more than 256 bytes";
    const struct sender sender = connection_sender(connection);
    SCOPED(text_free) struct text compact = {0};
    size_t size = 0;
    const char *echo = message_raw_member(bytes, length, "@ping", &size);

    if (echo != NULL)
        message_add_compact(&compact, echo, size);
    else if ((echo = json_object_to_json_string_ext(json, JSON_C_TO_STRING_PLAIN |
                                                              JSON_C_TO_STRING_NOSLASHESCAPE)))
        text_add_string(&compact, echo); /* its name is written with an escape */
    else
        return CONNECTION_BROKEN;
    if (compact.failed)
        return CONNECTION_BROKEN;
    if (compact.length > MAX_PING) {
        ingest_refuse(context->ingest, &sender, "@ping", REJECT_TOO_LONG, too_long,
                      strlen(too_long));
        return CONNECTION_GOES_ON;
    }
    if (connection->reports)
        report_finish(&connection->report);
    text_add_string(&connection->out, "{\"@pong\":");
    text_add(&connection->out, compact.at, compact.length);
    text_add_string(&connection->out, "}\n");
    return CONNECTION_GOES_ON;
}

/* A plain member beside an '@' member. */
static void refuse_mixed(struct connection *connection, struct connection_context *context,
                         const char *key)
{
    static const char text[] = "a sample beside a member of the protocol (send it by itself)";
    const struct sender sender = connection_sender(connection);

    ingest_refuse(context->ingest, &sender, key, REJECT_MIXED, text, strlen(text));
}

/* All but the plain ones, which are refused. A later version's '@' members mean nothing to us. */
static enum connection_status on_members(struct connection *connection,
                                         struct connection_context *context, json_object *object,
                                         const char *bytes, size_t length)
{
    enum connection_status status = CONNECTION_GOES_ON;
    json_object *member;

    /* A hello first: if it is for another shard, nothing else may have happened here. */
    if (json_object_object_get_ex(object, "@hello", &member))
        status = on_hello(connection, context, member);
    if (status == CONNECTION_GOES_ON && json_object_object_get_ex(object, "@skip", &member))
        status = on_skip(connection, context, member);
    if (status == CONNECTION_GOES_ON && json_object_object_get_ex(object, "@ping", &member))
        status = on_ping(connection, context, member, bytes, length);
    return status;
}

enum connection_status protocol_object(struct connection *connection,
                                       struct connection_context *context, const char *bytes,
                                       size_t length, uint32_t traits)
{
    json_object *object = message_read(context->ingest->reader, bytes, length, traits);
    enum connection_status status;

    if (object == NULL)
        return CONNECTION_BROKEN;
    status = on_members(connection, context, object, bytes, length);
    if (status == CONNECTION_HANDOVER)
        return status; /* it all happens in the other shard */
    for (struct json_object_iterator it = json_object_iter_begin(object),
                                     end = json_object_iter_end(object);
         !json_object_iter_equal(&it, &end); json_object_iter_next(&it)) {
        if (json_object_iter_peek_name(&it)[0] != '@')
            refuse_mixed(connection, context, json_object_iter_peek_name(&it));
    }
    return status;
}

bool protocol_is_again(struct connection_context *context, const char *bytes, size_t length,
                       uint32_t traits, const char *digits)
{
    json_object *object = message_read(context->ingest->reader, bytes, length, traits);
    json_object *hello, *again;

    return object != NULL && json_object_object_get_ex(object, "@hello", &hello) &&
           json_object_object_get_ex(hello, "again", &again) &&
           json_object_is_type(again, json_type_string) &&
           strcmp(json_object_get_string(again), digits) == 0;
}

void protocol_acknowledge(struct connection *connection, const struct connection_context *context)
{
    const struct stream *stream = connection->stream;
    uint64_t number;

    if (stream == NULL)
        return;
    number = safe_number(context->agents, stream);
    if (number <= connection->acknowledged)
        return;
    connection->acknowledged = number;
    text_printf(&connection->out, "{\"@ack\":%" PRIu64 "}\n", number);
}
