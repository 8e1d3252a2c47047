/* SPDX-License-Identifier: Apache-2.0 */
#include "handover/handover_wire.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "base/crc32c.h"
#include "connection.h"

static const char magic[8] = "RASADHO\n";

/* The largest that an unfinished message, or what a hello brought along, may be: max_message is at
 * most 1 GiB. */
#define MOST_BYTES (UINT64_C(2) << 30)

/*
 * One description of each struct serves both ways: a coder either adds the values that it is shown
 * to `out`, or fills them from [at, end).
 */
struct coder {
    struct text *out; /* NULL: it reads */
    const char *at, *end;
    bool failed;
};

static void code(struct coder *coder, void *value, size_t size)
{
    if (coder->out != NULL) {
        text_add(coder->out, value, size);
    } else if (coder->failed || (size_t)(coder->end - coder->at) < size) {
        coder->failed = true;
        memset(value, 0, size);
    } else {
        memcpy(value, coder->at, size);
        coder->at += size;
    }
}

/* A plain value. */
#define CODE(coder, value) code(coder, &(value), sizeof(value))

static void code_bool(struct coder *coder, bool *value)
{
    uint8_t byte = *value;

    CODE(coder, byte);
    coder->failed |= byte > 1;
    *value = byte != 0;
}

static void code_bytes(struct coder *coder, struct handover_bytes *bytes, uint64_t most)
{
    uint64_t length = bytes->length;

    CODE(coder, length);
    if (coder->out != NULL) {
        text_add(coder->out, bytes->at, bytes->length);
        return;
    }
    *bytes = (struct handover_bytes){.at = ""};
    if (coder->failed || length > most || length > (uint64_t)(coder->end - coder->at)) {
        coder->failed = true;
        return;
    }
    *bytes = (struct handover_bytes){coder->at, (size_t)length};
    coder->at += length;
}

/* The count of a list, each of whose members takes a byte at least; when reading, its memory. */
static void *code_list(struct coder *coder, void *list, size_t *count, size_t size)
{
    uint64_t many = *count;

    CODE(coder, many);
    if (coder->out != NULL)
        return list;
    *count = 0;
    if (coder->failed || many == 0)
        return NULL;
    if (many > (uint64_t)(coder->end - coder->at) || (list = calloc((size_t)many, size)) == NULL) {
        coder->failed = true;
        return NULL;
    }
    *count = (size_t)many;
    return list;
}

static void code_number(struct coder *coder, struct handover_number *number)
{
    CODE(coder, number->name);
    CODE(coder, number->value);
    coder->failed |= number->name[sizeof number->name - 1] != '\0';
}

static void code_family(struct coder *coder, struct handover_family *family)
{
    code_bytes(coder, &family->name, UINT16_MAX);
    code_bytes(coder, &family->key, UINT16_MAX);
    CODE(coder, family->samples);
    CODE(coder, family->overflow_samples);
    CODE(coder, family->refused);
    CODE(coder, family->render_errors);
}

static void code_agent(struct coder *coder, struct handover_agent *agent)
{
    code_bytes(coder, &agent->name, UINT8_MAX);
    code_bool(coder, &agent->named);
    CODE(coder, agent->gone_since_ns);
    CODE(coder, agent->last_seen_ns);
    CODE(coder, agent->connected_ns);
    CODE(coder, agent->messages);
    CODE(coder, agent->refused);
    CODE(coder, agent->dropped);
    CODE(coder, agent->forks);
    coder->failed |= agent->name.length == 0;
}

/* A descriptor, none of the three standard ones; or -1. */
static void code_fd(struct coder *coder, int32_t *fd)
{
    CODE(coder, *fd);
    if (coder->out == NULL && (coder->failed || *fd < -1 || (*fd >= 0 && *fd <= 2))) {
        coder->failed = true;
        *fd = -1;
    }
}

static void code_sockets(struct coder *coder, struct handover_sockets *sockets)
{
    code_bytes(coder, &sockets->address, UINT16_MAX);
    CODE(coder, sockets->port);
    code_bool(coder, &sockets->is_units);
    CODE(coder, sockets->count);
    if (sockets->count > SOCKETS_MOST) {
        coder->failed = true;
        sockets->count = 0;
    }
    for (uint8_t i = 0; i < sockets->count; i++)
        code_fd(coder, &sockets->fds[i]);
}

static void code_frame(struct coder *coder, struct frame *frame)
{
    uint64_t max_message = frame->max_message, start = frame->start, next = frame->next;
    uint8_t numbered = frame->numbered;

    CODE(coder, max_message);
    CODE(coder, start);
    CODE(coder, next);
    CODE(coder, frame->counted);
    CODE(coder, frame->stack);
    CODE(coder, frame->depth);
    CODE(coder, frame->traits);
    CODE(coder, frame->verdict);
    CODE(coder, frame->chain);
    CODE(coder, numbered);
    CODE(coder, frame->escape);
    CODE(coder, frame->width);
    CODE(coder, frame->state);
    CODE(coder, frame->matched);
    CODE(coder, frame->literal);
    CODE(coder, frame->in_key);
    CODE(coder, frame->told);
    CODE(coder, frame->surrogate);
    CODE(coder, frame->whole);
    CODE(coder, frame->utf8_left);
    CODE(coder, frame->utf8_low);
    CODE(coder, frame->utf8_high);
    CODE(coder, frame->line_open);
    frame->max_message = (size_t)max_message;
    frame->start = (size_t)start;
    frame->next = (size_t)next;
    coder->failed |= numbered > 1;
    frame->numbered = numbered != 0;
}

static void code_connection(struct coder *coder, struct handover_connection *connection)
{
    code_fd(coder, &connection->fd);
    code_bytes(coder, &connection->address, ADDRESS_LENGTH - 1);
    code_bytes(coder, &connection->agent, UINT8_MAX);
    code_bool(coder, &connection->begun);
    code_bool(coder, &connection->named);
    code_bool(coder, &connection->ending);
    code_bool(coder, &connection->shares_lines);
    code_bool(coder, &connection->is_stored);
    code_bool(coder, &connection->reports);
    code_bool(coder, &connection->has_stream);
    CODE(coder, connection->stream);
    CODE(coder, connection->applied);
    CODE(coder, connection->chain);
    CODE(coder, connection->messages);
    CODE(coder, connection->acknowledged);
    CODE(coder, connection->report_accepted);
    CODE(coder, connection->report_refused);
    code_frame(coder, &connection->frame);
    code_bytes(coder, &connection->in, MOST_BYTES);
    code_bytes(coder, &connection->out, MOST_BYTES);
    code_bytes(coder, &connection->again, CONNECTION_AGAIN_LENGTH - 1);
    coder->failed |=
        !frame_is_sound(&connection->frame, connection->in.length) ||
        connection->acknowledged > connection->applied ||
        ((connection->named || connection->has_stream) && connection->agent.length == 0) ||
        (connection->again.length > 0 && (connection->again.length != CONNECTION_AGAIN_LENGTH - 1 ||
                                          connection->in.length > CONNECTION_READ_BYTES));
}

/* Lists each member's coding, behind the count. */
#define CODE_LIST(coder, list, count, call)                                                        \
    do {                                                                                           \
        (list) = code_list(coder, list, &(count), sizeof *(list));                                 \
        for (size_t i_ = 0; i_ < (count); i_++)                                                    \
            call(coder, &(list)[i_]);                                                              \
    } while (0)

static void code_worker(struct coder *coder, int32_t *worker)
{
    CODE(coder, *worker);
    coder->failed |= *worker <= 1;
}

static void code_cookie(struct coder *coder, struct handover_cookie *cookie)
{
    code_fd(coder, &cookie->fd);
    CODE(coder, cookie->cookie);
}

static void code_handover(struct coder *coder, struct handover *handover)
{
    code_bytes(coder, &handover->version, UINT8_MAX);
    code_bytes(coder, &handover->state_dir, PATH_MAX);
    CODE(coder, handover->begun_ns);
    code_fd(coder, &handover->asker);
    CODE_LIST(coder, handover->numbers, handover->number_count, code_number);
    CODE_LIST(coder, handover->families, handover->family_count, code_family);
    CODE_LIST(coder, handover->agents, handover->agent_count, code_agent);
    for (size_t i = 0; i < HANDOVER_PLACES; i++)
        code_sockets(coder, &handover->places[i]);
    CODE_LIST(coder, handover->workers, handover->worker_count, code_worker);
    CODE_LIST(coder, handover->connections, handover->connection_count, code_connection);
    CODE_LIST(coder, handover->cookies, handover->cookie_count, code_cookie);
}

void handover_write(const struct handover *handover, struct text *out)
{
    struct handover copy = *handover; /* the coder takes what it could change */
    struct coder coder = {.out = out};
    const char head[HANDOVER_HEAD_BYTES] = {0};
    uint32_t version = HANDOVER_VERSION, crc;
    size_t start = out->length;
    uint64_t length;
    char *at;

    text_add(out, head, sizeof head);
    code_handover(&coder, &copy);
    out->failed |= coder.failed; /* nobody could read it */
    if (out->failed)
        return;
    at = out->at + start;
    length = out->length - start - sizeof head;
    crc = crc32c(0, at + sizeof head, (size_t)length);
    memcpy(at, magic, 8);
    memcpy(at + 8, &version, 4);
    memcpy(at + 12, &crc, 4);
    memcpy(at + 16, &length, 8);
}

/* Whether the head is that of a handover of our version, and the rest is whole. */
static bool check_head(const char *bytes, size_t length, struct rasad_error *error)
{
    uint32_t version, crc;
    uint64_t rest;

    if (length < HANDOVER_HEAD_BYTES || memcmp(bytes, magic, 8) != 0)
        return rasad_fail(error, "there is no handover at this descriptor");
    memcpy(&version, bytes + 8, 4);
    memcpy(&crc, bytes + 12, 4);
    memcpy(&rest, bytes + 16, 8);
    if (version != HANDOVER_VERSION)
        return rasad_fail(error,
                          "the handover has format %u, but rasadd " RASAD_VERSION
                          " reads format %d (restart the server instead)",
                          version, HANDOVER_VERSION);
    if (rest != length - HANDOVER_HEAD_BYTES ||
        crc != crc32c(0, bytes + HANDOVER_HEAD_BYTES, (size_t)rest))
        return rasad_fail(error, "the handover is damaged");
    return true;
}

bool handover_read(const char *bytes, size_t length, struct handover *handover,
                   struct rasad_error *error)
{
    struct handover found = {.asker = -1};
    struct coder coder;

    if (!check_head(bytes, length, error))
        return false;
    coder = (struct coder){.at = bytes + HANDOVER_HEAD_BYTES, .end = bytes + length};
    code_handover(&coder, &found);
    if (coder.failed || coder.at != coder.end) {
        handover_free(&found);
        return rasad_fail(error, "the handover makes no sense, or there is no memory for it");
    }
    *handover = found;
    return true;
}

void handover_free(struct handover *handover)
{
    free(handover->numbers);
    free(handover->families);
    free(handover->agents);
    free(handover->workers);
    free(handover->connections);
    free(handover->cookies);
    *handover = (struct handover){.asker = -1};
}

void handover_each_fd(struct handover *handover, void (*call)(int32_t *fd, void *context),
                      void *context)
{
    if (handover->asker >= 0)
        call(&handover->asker, context);
    for (size_t i = 0; i < HANDOVER_PLACES; i++) {
        struct handover_sockets *sockets = &handover->places[i];

        for (uint8_t j = 0; j < sockets->count; j++) {
            if (sockets->fds[j] >= 0)
                call(&sockets->fds[j], context);
        }
    }
    for (size_t i = 0; i < handover->connection_count; i++) {
        if (handover->connections[i].fd >= 0)
            call(&handover->connections[i].fd, context);
    }
}
