/* SPDX-License-Identifier: Apache-2.0 */
#include "library.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "agent_name.h"
#include "base/address.h"
#include "base/clock.h"
#include "base/frame.h"
#include "base/scoped.h"
#include "state_folder.h"

#define EXPORT __attribute__((visibility("default")))

/* The longest message, as a server takes it by default. */
#define MOST_MESSAGE (1 << 20)

/* More servers than anybody has; each costs buffers. */
#define MOST_SERVERS 64

/* The options of the first release: a smaller size is a mistake. */
#define LEAST_OPTIONS (offsetof(struct rasad_client_options, log_context) + sizeof(void *))

struct rasad_client {
    void (*take_line)(void *context, int level, const char *line); /* the caller's; may be NULL */
    void *take_context;
    struct log log;        /* that hands its lines there */
    struct client *client; /* owned */
};

static int fail(enum rasad_client_result result, struct rasad_client_error *error,
                const struct rasad_error *why)
{
    if (error != NULL)
        (void)snprintf(error->text, sizeof error->text, "%s", why->text);
    return result;
}

static int fail_memory(struct rasad_client_error *error)
{
    return fail(RASAD_CLIENT_FAILED, error, &(const struct rasad_error){"out of memory"});
}

/* In nanoseconds, or -1. */
static int64_t time_out(int64_t ms)
{
    return ms < 0 || ms > INT64_MAX / NS_PER_MS ? -1 : ms * NS_PER_MS;
}

/* ---- Opening ---- */

/* What the caller knows of the options, and zero behind that. */
static bool read_options(const struct rasad_client_options *given,
                         struct rasad_client_options *options, struct rasad_error *error)
{
    size_t size = given->size;

    if (size < LEAST_OPTIONS)
        return rasad_fail(error, "options of %zu bytes (set size to their sizeof)", size);
    *options = (struct rasad_client_options){0};
    for (size_t i = sizeof *options; i < size; i++) {
        if (((const char *)given)[i] != 0)
            return rasad_fail(error, "an option is newer than this library");
    }
    memcpy(options, given, size < sizeof *options ? size : sizeof *options);
    return true;
}

static bool check_options(const struct rasad_client_options *options, struct rasad_error *error)
{
    if (options->server_count == 0 || options->servers == NULL)
        return rasad_fail(error, "no server (write \"HOST:PORT\")");
    if (options->server_count > MOST_SERVERS)
        return rasad_fail(error, "more than %d servers", MOST_SERVERS);
    for (size_t i = 0; i < options->server_count; i++) {
        char host[256];
        uint16_t port;

        if (options->servers[i] == NULL)
            return rasad_fail(error, "server %zu is NULL", i);
        if (!address_split(options->servers[i], 5050, host, &port, error))
            return false;
    }
    if (options->sync < RASAD_CLIENT_SYNC_DISK || options->sync > RASAD_CLIENT_SYNC_MEMORY)
        return rasad_fail(error, "unknown sync %d", options->sync);
    if (options->when_full < RASAD_CLIENT_BLOCK || options->when_full > RASAD_CLIENT_DROP_OLDEST)
        return rasad_fail(error, "unknown when_full %d", options->when_full);
    if (options->spool_max != 0 &&
        (options->spool_max < SPOOL_LEAST_BYTES || options->spool_max > SPOOL_MOST_BYTES))
        return rasad_fail(error, "a spool of %llu bytes (64KiB to 16GiB)",
                          (unsigned long long)options->spool_max);
    return options->name == NULL || agent_name_check(options->name, error);
}

/* Puts what may be left out into `inner`; the texts are the buffers'. */
static bool fill_in(const struct rasad_client_options *options, struct client_options *inner,
                    char name[AGENT_NAME_LENGTH], char folder[PATH_MAX], struct rasad_error *error)
{
    static const enum spool_sync syncs[] = {[RASAD_CLIENT_SYNC_DISK] = SPOOL_SYNC_DISK,
                                            [RASAD_CLIENT_SYNC_OS] = SPOOL_SYNC_OS,
                                            [RASAD_CLIENT_SYNC_MEMORY] = SPOOL_SYNC_MEMORY};

    inner->servers = options->servers;
    inner->server_count = options->server_count;
    inner->max_bytes = options->spool_max;
    inner->sync = syncs[options->sync];
    inner->drop_oldest = options->when_full == RASAD_CLIENT_DROP_OLDEST;
    inner->name = options->name;
    if (inner->name == NULL) {
        if (!agent_name_of_host(name, error))
            return false;
        inner->name = name;
    }
    if (inner->sync == SPOOL_SYNC_MEMORY)
        return true;
    if (options->spool != NULL) {
        inner->folder = options->spool[0] != '\0' ? options->spool : NULL;
        return true;
    }
    inner->folder = folder;
    return state_folder(inner->name, folder, error);
}

static void log_to_caller(void *context, enum log_level level, const char *line)
{
    const struct rasad_client *client = context;

    if (client->take_line != NULL)
        client->take_line(client->take_context, (int)level, line);
}

int library_open(const struct rasad_client_options *options, const struct log *log,
                 struct rasad_client **client, struct rasad_client_error *error)
{
    struct rasad_client_options known;
    struct client_options inner = {.log = log};
    char name[AGENT_NAME_LENGTH], folder[PATH_MAX];
    SCOPED(free_at) struct rasad_client *opened = NULL;
    struct rasad_error why;

    if (!read_options(options, &known, &why) || !check_options(&known, &why))
        return fail(RASAD_CLIENT_REFUSED, error, &why);
    if ((opened = calloc(1, sizeof *opened)) == NULL)
        return fail_memory(error);
    if (!fill_in(&known, &inner, name, folder, &why))
        return fail(RASAD_CLIENT_FAILED, error, &why);
    if (log == NULL) {
        opened->take_line = known.log;
        opened->take_context = known.log_context;
        opened->log = (struct log){.fd = -1, .sink = log_to_caller, .context = opened};
        inner.log = &opened->log;
    }
    if (!client_open(&inner, &opened->client, &why))
        return fail(RASAD_CLIENT_FAILED, error, &why);
    *client = TAKE(opened);
    return RASAD_CLIENT_OK;
}

EXPORT int rasad_client_open(const struct rasad_client_options *options,
                             struct rasad_client **client, struct rasad_client_error *error)
{
    return library_open(options, NULL, client, error);
}

struct client *library_client(struct rasad_client *client)
{
    return client->client;
}

EXPORT void rasad_client_close(struct rasad_client *client)
{
    if (client == NULL)
        return;
    client_close(client->client);
    free(client);
}

/* ---- Pushing ---- */

static bool is_blank(const char *bytes, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        if (memchr(" \t\r\n", bytes[i], 4) == NULL)
            return false;
    }
    return true;
}

/* Finds the object in what was pushed; false if that isn't one object alone. */
static bool find_object(const struct client *client, struct rasad_client_message given,
                        struct rasad_client_message *found, struct rasad_error *error)
{
    struct frame frame = frame_make(MOST_MESSAGE);
    size_t at, size;
    enum frame_kind kind;

    if (given.json == NULL)
        return rasad_fail(error, "the message is NULL");
    kind = frame_next(&frame, given.json, given.length, &at, &size);
    if (kind == FRAME_MORE)
        kind = frame_end(&frame);
    if (kind == FRAME_TOO_LONG || (kind == FRAME_OBJECT && size > client_longest(client)))
        return rasad_fail(error, "a message of %zu bytes is too long", given.length);
    if (kind == FRAME_BAD_UTF8)
        return rasad_fail(error, "the message is no well-formed UTF-8");
    if (kind == FRAME_TRUNCATED)
        return rasad_fail(error, "the message ends within its object");
    if (kind != FRAME_OBJECT || !is_blank(given.json, at) ||
        !is_blank(given.json + at + size, given.length - at - size))
        return rasad_fail(error, "the message isn't one JSON object");
    if ((frame.traits & FRAME_HAS_AT) != 0)
        return rasad_fail(error, "the message has a member with an '@', which is the protocol's");
    *found = (struct rasad_client_message){.json = given.json + at, .length = size};
    return true;
}

/* Makes a list of copies. */
static int copy_all(const struct client *client, const struct rasad_client_message *given,
                    size_t count, struct messages *messages, struct rasad_client_error *error)
{
    for (size_t i = 0; i < count; i++) {
        struct rasad_client_message found = given[i];
        struct message *message;
        struct rasad_error why;

        if (!find_object(client, given[i], &found, &why)) {
            if (count > 1)
                (void)rasad_fail_at(&why, "message %zu of %zu", i + 1, count);
            return fail(RASAD_CLIENT_REFUSED, error, &why);
        }
        if ((message = message_new(found.json, found.length)) == NULL)
            return fail_memory(error);
        messages_add(messages, message);
    }
    return RASAD_CLIENT_OK;
}

EXPORT int rasad_client_push_many(struct rasad_client *client,
                                  const struct rasad_client_message *messages, size_t count,
                                  int64_t timeout_ms, size_t *pushed,
                                  struct rasad_client_error *error)
{
    SCOPED(messages_free) struct messages list = {0};
    struct rasad_error why;
    int result = copy_all(client->client, messages, count, &list, error);

    if (pushed != NULL)
        *pushed = 0;
    if (result != RASAD_CLIENT_OK)
        return result;
    switch (client_put(client->client, &list, time_out(timeout_ms), &why)) {
    case SPOOL_DONE:
        break;
    case SPOOL_FULL:
        result = fail(RASAD_CLIENT_FULL, error, &why);
        break;
    case SPOOL_BROKEN:
        result = fail(RASAD_CLIENT_FAILED, error, &why);
        break;
    }
    if (pushed != NULL)
        *pushed = count - (size_t)list.count;
    return result;
}

EXPORT int rasad_client_push(struct rasad_client *client, const char *json, size_t length,
                             struct rasad_client_error *error)
{
    const struct rasad_client_message message = {.json = json, .length = length};

    return rasad_client_push_many(client, &message, 1, -1, NULL, error);
}

EXPORT int rasad_client_post(struct rasad_client *client, const char *json, size_t length,
                             struct rasad_client_error *error)
{
    const struct rasad_client_message given = {.json = json, .length = length};
    SCOPED(messages_free) struct messages list = {0};
    struct rasad_error why;
    int result = copy_all(client->client, &given, 1, &list, error);

    if (result != RASAD_CLIENT_OK)
        return result;
    if (!client_give(client->client, list.first, &why))
        return fail(RASAD_CLIENT_FULL, error, &why);
    list = (struct messages){0};
    return RASAD_CLIENT_OK;
}

/* ---- Waiting and counting ---- */

EXPORT int rasad_client_sync(struct rasad_client *client, int64_t timeout_ms,
                             struct rasad_client_error *error)
{
    struct rasad_error why;

    if (client_sync(client->client, time_out(timeout_ms)))
        return RASAD_CLIENT_OK;
    (void)rasad_fail(&why, "messages are not in the spool yet");
    return fail(RASAD_CLIENT_LATE, error, &why);
}

EXPORT int rasad_client_flush(struct rasad_client *client, int64_t timeout_ms,
                              struct rasad_client_error *error)
{
    struct rasad_error why;

    if (client_flush(client->client, time_out(timeout_ms)))
        return RASAD_CLIENT_OK;
    (void)rasad_fail(&why, "%llu messages are not acknowledged",
                     (unsigned long long)client_counts(client->client).pending);
    return fail(RASAD_CLIENT_LATE, error, &why);
}

EXPORT uint64_t rasad_client_taken(struct rasad_client *client)
{
    return client_taken(client->client);
}

EXPORT void rasad_client_counts(struct rasad_client *client, struct rasad_client_counts *counts)
{
    struct client_counts inner = client_counts(client->client);
    struct rasad_client_counts known = {.size = counts->size,
                                        .pending = inner.pending,
                                        .acked = inner.acked,
                                        .dropped = inner.dropped};

    if (counts->size > sizeof known)
        memset((char *)counts + sizeof known, 0, counts->size - sizeof known);
    memcpy(counts, &known, counts->size < sizeof known ? counts->size : sizeof known);
}
