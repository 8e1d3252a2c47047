/* SPDX-License-Identifier: Apache-2.0 */
/*
 * library_pusher: a source whose message k is {"C":1,"S":k}, which pushes messages 1 to N through
 * librasad-client and goes on behind what the spool has taken, for test_client_library.py.
 *
 *      library_pusher servers=HOST:PORT,… name=WEB spool=FOLDER messages=N [NAME=NUMBER…]
 *
 *      group    messages a push (1)            wait    for room, in ms (-1)
 *      threads  that share the messages (1)    flush   waits so long in the end, in ms (-1)
 *      drop     1: drop the oldest when full   max     bytes of the spool
 *      sync     an enum rasad_client_sync      post    1: post them, and sync in the end
 *
 * It says on standard error how far it has come, and ends with a result of rasad/client.h.
 */
#include <inttypes.h>
#include <pthread.h>
#include <rasad/client.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MOST_GROUP 1000
#define MOST_THREADS 64
#define MESSAGE_BYTES 64

static struct {
    char *servers, *name, *spool;
    int64_t messages, group, wait, threads, flush, drop, max, sync, post;
} words = {.group = 1, .wait = -1, .threads = 1, .flush = -1};

static struct rasad_client *client;
static _Atomic uint64_t next; /* message to push */

static void take_word(const char *name, char *value)
{
    const struct {
        const char *name;
        char **text;
        int64_t *number;
    } rows[] = {
        {"servers", &words.servers, NULL}, {"name", &words.name, NULL},
        {"spool", &words.spool, NULL},     {"messages", NULL, &words.messages},
        {"group", NULL, &words.group},     {"wait", NULL, &words.wait},
        {"threads", NULL, &words.threads}, {"flush", NULL, &words.flush},
        {"drop", NULL, &words.drop},       {"max", NULL, &words.max},
        {"sync", NULL, &words.sync},       {"post", NULL, &words.post},
    };

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        if (strcmp(rows[i].name, name) != 0)
            continue;
        if (rows[i].text != NULL)
            *rows[i].text = value;
        else
            *rows[i].number = strtoll(value, NULL, 10);
        return;
    }
    (void)fprintf(stderr, "no word %s\n", name);
    exit(64);
}

static void say(void *context, int level, const char *line)
{
    static const char *const levels[] = {"info", "warning", "error"};

    (void)fprintf(stderr, "%s %s\n", levels[level], line);
}

static int complain(const char *what, int result, const struct rasad_client_error *error)
{
    (void)fprintf(stderr, "%s: result %d: %s\n", what, result, error->text);
    return result;
}

static int open_client(void)
{
    const char *servers[8], *rest = NULL;
    struct rasad_client_options options = {.size = sizeof options,
                                           .servers = servers,
                                           .name = words.name,
                                           .spool = words.spool,
                                           .spool_max = (uint64_t)words.max,
                                           .sync = (int)words.sync,
                                           .when_full = (int)words.drop,
                                           .log = say};
    struct rasad_client_error error;
    int result;

    for (char *server = strtok_r(words.servers, ",", (char **)&rest);
         server != NULL && options.server_count < 8; server = strtok_r(NULL, ",", (char **)&rest))
        servers[options.server_count++] = server;
    result = rasad_client_open(&options, &client, &error);
    return result == RASAD_CLIENT_OK ? result : complain("open", result, &error);
}

/* Writes the messages from `first` on. */
static void write_group(uint64_t first, size_t count, char (*texts)[MESSAGE_BYTES],
                        struct rasad_client_message *messages)
{
    for (size_t i = 0; i < count; i++) {
        int length = snprintf(texts[i], MESSAGE_BYTES, "{\"C\":1,\"S\":%" PRIu64 "}", first + i);

        messages[i] = (struct rasad_client_message){.json = texts[i], .length = (size_t)length};
    }
}

static int push_group(const struct rasad_client_message *messages, size_t count)
{
    struct rasad_client_error error;
    size_t pushed = 0;
    int result = RASAD_CLIENT_OK;

    if (words.post != 0) {
        while (result == RASAD_CLIENT_OK && pushed < count) {
            result =
                rasad_client_post(client, messages[pushed].json, messages[pushed].length, &error);
            pushed += result == RASAD_CLIENT_OK;
        }
    } else {
        result = rasad_client_push_many(client, messages, count, words.wait, &pushed, &error);
    }
    if (result == RASAD_CLIENT_OK)
        return result;
    (void)complain("push", result, &error);
    (void)fprintf(stderr, "pushed %zu of the group\n", pushed);
    return result;
}

static void *push_all(void *argument)
{
    static _Thread_local char texts[MOST_GROUP][MESSAGE_BYTES];
    struct rasad_client_message messages[MOST_GROUP];
    uint64_t last = (uint64_t)words.messages;
    int *result = argument;

    while (*result == RASAD_CLIENT_OK) {
        uint64_t first = atomic_fetch_add(&next, (uint64_t)words.group);
        size_t count = (size_t)words.group;

        if (first > last)
            break;
        if (first + count > last + 1)
            count = (size_t)(last + 1 - first);
        write_group(first, count, texts, messages);
        *result = push_group(messages, count);
    }
    return NULL;
}

static int push_from_threads(void)
{
    pthread_t threads[MOST_THREADS];
    int results[MOST_THREADS] = {0}, result = RASAD_CLIENT_OK;

    for (int64_t i = 0; i < words.threads; i++) {
        if (pthread_create(&threads[i], NULL, push_all, &results[i]) != 0)
            abort();
    }
    for (int64_t i = 0; i < words.threads; i++) {
        (void)pthread_join(threads[i], NULL);
        result = results[i] > result ? results[i] : result;
    }
    return result;
}

static void tell(void)
{
    struct rasad_client_counts counts = {.size = sizeof counts};

    rasad_client_counts(client, &counts);
    (void)fprintf(stderr,
                  "taken %" PRIu64 " pending %" PRIu64 " acked %" PRIu64 " dropped %" PRIu64 "\n",
                  rasad_client_taken(client), counts.pending, counts.acked, counts.dropped);
}

int main(int argc, char **argv)
{
    struct rasad_client_error error;
    int result, flushed;

    for (int i = 1; i < argc; i++) {
        char *value = strchr(argv[i], '=');

        if (value == NULL)
            return 64;
        *value = '\0';
        take_word(argv[i], value + 1);
    }
    if ((result = open_client()) != RASAD_CLIENT_OK)
        return result;
    (void)fprintf(stderr, "open, taken %" PRIu64 "\n", rasad_client_taken(client));
    next = rasad_client_taken(client) + 1;
    result = push_from_threads();
    if (words.post != 0 && (flushed = rasad_client_sync(client, -1, &error)) != RASAD_CLIENT_OK)
        (void)complain("sync", flushed, &error);
    tell();
    flushed = rasad_client_flush(client, words.flush, &error);
    if (flushed != RASAD_CLIENT_OK)
        (void)complain("flush", flushed, &error);
    tell();
    rasad_client_close(client);
    return result != RASAD_CLIENT_OK ? result : flushed;
}
