/* SPDX-License-Identifier: Apache-2.0 */
/*
 * chaos_pusher: pushes the workload through librasad-client alone, as a program of somebody else
 * would, with a spool on disk. The workload can be read from anywhere, so after any end it goes on
 * behind what the spool ever took:
 *
 *   chaos_pusher index=I messages=N plain=1 port=N name=WEB spool=FOLDER [state=FILE] [...]
 *
 * Ends with 0 once all is acknowledged, and with 3 as soon as the library has broken its word: what
 * was pushed is taken for ever. With `state`, how many that were lies in that file, which is
 * written before more is pushed. options.h has the other words.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <rasad/client.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/text.h"
#include "options.h"
#include "workload.h"

#define MOST_AT_ONCE 500
#define SPOOL_BYTES (4 << 20)

struct pusher {
    const struct options *options;
    struct rasad_client *client;
    int state_fd;    /* -1: none */
    uint64_t pushed; /* messages, ever */
    struct text text;
    size_t ends[MOST_AT_ONCE]; /* of the messages in `text` */
};

static void say(void *context, int level, const char *line)
{
    static const char *const levels[] = {"info", "warning", "error"};

    (void)fprintf(stderr, "%s %s\n", levels[level], line);
}

static void open_client(struct pusher *pusher)
{
    char server[32];
    const char *const servers[] = {server};
    const struct rasad_client_options options = {.size = sizeof options,
                                                 .servers = servers,
                                                 .server_count = 1,
                                                 .name = pusher->options->name,
                                                 .spool = pusher->options->spool,
                                                 .spool_max = SPOOL_BYTES,
                                                 .log = say};
    struct rasad_client_error error;

    (void)snprintf(server, sizeof server, "127.0.0.1:%" PRIu64, pusher->options->port);
    if (rasad_client_open(&options, &pusher->client, &error) != RASAD_CLIENT_OK)
        die(1, "%s", error.text);
}

/* Nothing that was taken may be missing, and nothing may be there that was never pushed. */
static void go_on(struct pusher *pusher)
{
    const char *state = pusher->options->state;
    uint64_t kept = 0;

    pusher->state_fd = state != NULL ? open(state, O_RDWR | O_CREAT | O_CLOEXEC, 0600) : -1;
    if (state != NULL &&
        (pusher->state_fd < 0 || pread(pusher->state_fd, &kept, sizeof kept, 0) < 0))
        die(1, "%s: %s", state, strerror(errno));
    pusher->pushed = rasad_client_taken(pusher->client);
    if (pusher->pushed < kept || pusher->pushed > pusher->options->messages)
        die(BROKEN_WORD, "the spool has taken %" PRIu64 ", but once said so of %" PRIu64,
            pusher->pushed, kept);
}

/* Writes the next messages, as many as are released; returns how many. */
static size_t write_some(struct pusher *pusher, uint64_t most)
{
    size_t count = 0;

    text_clear(&pusher->text);
    while (count < MOST_AT_ONCE && pusher->pushed + count < most) {
        workload_write((uint32_t)pusher->options->index, pusher->pushed + count + 1, true,
                       &pusher->text);
        pusher->ends[count++] = pusher->text.length;
    }
    if (pusher->text.failed)
        die(1, "out of memory");
    return count;
}

static void push_some(struct pusher *pusher, uint64_t most)
{
    struct rasad_client_message messages[MOST_AT_ONCE];
    struct rasad_client_error error;
    size_t count = write_some(pusher, most), start = 0, pushed;
    int result;

    for (size_t i = 0; i < count; start = pusher->ends[i++])
        messages[i] = (struct rasad_client_message){.json = pusher->text.at + start,
                                                    .length = pusher->ends[i] - start};
    result = rasad_client_push_many(pusher->client, messages, count, 1000, &pushed, &error);
    if (result != RASAD_CLIENT_OK && result != RASAD_CLIENT_FULL)
        die(1, "cannot push: %s", error.text);
    pusher->pushed += pushed;
    if (rasad_client_taken(pusher->client) != pusher->pushed)
        die(BROKEN_WORD, "pushed %" PRIu64 ", but %" PRIu64 " are taken", pusher->pushed,
            rasad_client_taken(pusher->client));
    if (pusher->state_fd >= 0 &&
        pwrite(pusher->state_fd, &pusher->pushed, sizeof pusher->pushed, 0) < 0)
        die(1, "%s: %s", pusher->options->state, strerror(errno));
}

int main(int argc, char **argv)
{
    const struct options options = options_read(argc - 1, argv + 1);
    struct pusher pusher = {.options = &options};

    if (options.name == NULL || options.spool == NULL)
        die(64, "wants a name and a spool (options.h has the words)");
    open_client(&pusher);
    go_on(&pusher);
    while (pusher.pushed < options.messages) {
        uint64_t most = options_released(&options);

        if (pusher.pushed < most)
            push_some(&pusher, most);
        else
            (void)poll(NULL, 0, 5);
    }
    if (rasad_client_flush(pusher.client, -1, NULL) != RASAD_CLIENT_OK)
        die(1, "cannot flush");
    rasad_client_close(pusher.client);
    text_free(&pusher.text);
    return 0;
}
