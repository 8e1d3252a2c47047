/* SPDX-License-Identifier: Apache-2.0 */
/*
 * chaos_pusher: pushes the workload through the agent's client, with a spool on disk. The workload
 * can be read from anywhere, so after any end it goes on behind what the spool ever took:
 *
 *   chaos_pusher index=I messages=N plain=1 port=N name=WEB spool=FOLDER state=FILE [...]
 *
 * Ends with 0 once all is acknowledged, and with 3 as soon as the spool has broken its word: what
 * was synced is taken for ever. How many that were lies in the state file, which is written before
 * more is pushed.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/text.h"
#include "client.h"
#include "options.h"
#include "workload.h"

#define MOST_AT_ONCE 500
#define SPOOL_BYTES (4 << 20)

struct pusher {
    const struct options *options;
    struct client *client;
    int state_fd;
    uint64_t pushed; /* messages, ever */
};

static void open_client(struct pusher *pusher)
{
    static struct log log;
    static char server[32];
    static const char *const servers[] = {server};
    struct rasad_error error;

    log = log_make(STDERR_FILENO, NULL);
    (void)snprintf(server, sizeof server, "127.0.0.1:%" PRIu64, pusher->options->port);
    if (!client_open(&(struct client_options){.name = pusher->options->name,
                                              .servers = servers,
                                              .server_count = 1,
                                              .folder = pusher->options->spool,
                                              .max_bytes = SPOOL_BYTES,
                                              .sync = SPOOL_SYNC_DISK,
                                              .log = &log},
                     &pusher->client, &error))
        die(1, "%s", error.text);
}

/* Nothing that was synced may be missing, and nothing may be there that was never pushed. */
static void go_on(struct pusher *pusher)
{
    uint64_t synced = 0;
    ssize_t got;

    pusher->state_fd = open(pusher->options->state, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (pusher->state_fd < 0 || (got = pread(pusher->state_fd, &synced, sizeof synced, 0)) < 0)
        die(1, "%s: %s", pusher->options->state, strerror(errno));
    pusher->pushed = client_taken(pusher->client);
    if (pusher->pushed < synced || pusher->pushed > pusher->options->messages)
        die(BROKEN_WORD, "the spool has taken %" PRIu64 ", but once said so of %" PRIu64,
            pusher->pushed, synced);
}

static void push_some(struct pusher *pusher, uint64_t most)
{
    static struct text message;
    struct rasad_error error;

    for (int i = 0; i < MOST_AT_ONCE && pusher->pushed < most; i++) {
        if (!client_has_room(pusher->client))
            break;
        text_clear(&message);
        workload_write((uint32_t)pusher->options->index, pusher->pushed + 1, true, &message);
        if (message.failed || !client_push(pusher->client, message.at, message.length, &error))
            die(1, "cannot push: %s", message.failed ? "out of memory" : error.text);
        pusher->pushed++;
    }
    if (!client_sync(pusher->client, -1))
        die(1, "cannot sync");
    if (client_taken(pusher->client) != pusher->pushed)
        die(BROKEN_WORD, "pushed %" PRIu64 " and synced, but %" PRIu64 " are taken", pusher->pushed,
            client_taken(pusher->client));
    if (pwrite(pusher->state_fd, &pusher->pushed, sizeof pusher->pushed, 0) < 0)
        die(1, "%s: %s", pusher->options->state, strerror(errno));
}

static void wait_for_room(struct pusher *pusher)
{
    struct pollfd room = {.fd = client_fd(pusher->client), .events = POLLIN};

    (void)poll(&room, 1, 5);
    client_clear_fd(pusher->client);
}

int main(int argc, char **argv)
{
    const struct options options = options_read(argc - 1, argv + 1);
    struct pusher pusher = {.options = &options};

    if (options.name == NULL || options.spool == NULL || options.state == NULL)
        die(64, "wants a name, a spool and a state (options.h has the words)");
    open_client(&pusher);
    go_on(&pusher);
    while (pusher.pushed < options.messages) {
        uint64_t most = options_released(&options);

        if (pusher.pushed < most && client_has_room(pusher.client))
            push_some(&pusher, most);
        else
            wait_for_room(&pusher);
    }
    if (!client_flush(pusher.client, -1))
        die(1, "cannot flush");
    client_close(pusher.client);
    return close(pusher.state_fd) != 0;
}
