/* SPDX-License-Identifier: Apache-2.0 */
#include "feed.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include "base/scoped.h"
#include "pump.h"

struct feed {
    struct client *client;
    const struct log *log;
    int in_fd, signal_fd;
    struct pump pump;
    bool at_end;  /* of the descriptor */
    bool drained; /* the pump has no more for now */
    uint64_t seen;
    uint64_t refused;
    bool failed;
};

static void feed_free(struct feed *feed)
{
    pump_free(&feed->pump);
}

static void push(struct feed *feed, const struct pump_found *found)
{
    struct rasad_error error;

    if (client_push(feed->client, found->bytes, found->length, &error))
        return;
    log_error(feed->log, "cannot push", log_text("reason", error.text));
    feed->failed = true;
}

static void refuse(struct feed *feed, const struct pump_found *found)
{
    feed->refused++;
    log_warning(feed->log, "message refused", log_number("message", (int64_t)feed->seen),
                log_text("reason", found->reason));
}

/* Pushes what was read as far as there is room. */
static void push_read(struct feed *feed)
{
    while (!feed->failed && !feed->drained && client_has_room(feed->client)) {
        struct pump_found found;
        enum pump_result result = pump_next(&feed->pump, &found);

        if (result == PUMP_MORE && feed->at_end)
            result = pump_end(&feed->pump, &found);
        feed->drained = result == PUMP_MORE;
        feed->seen += result != PUMP_MORE;
        if (result == PUMP_MESSAGE)
            push(feed, &found);
        else if (result == PUMP_REFUSED)
            refuse(feed, &found);
    }
}

static void read_more(struct feed *feed)
{
    static char buffer[1 << 16]; /* of the one feed that a program has */
    ssize_t got = read(feed->in_fd, buffer, sizeof buffer);

    if (got < 0 && (errno == EINTR || errno == EAGAIN))
        return;
    if (got < 0) {
        log_error(feed->log, "cannot read standard input", log_text("reason", strerror(errno)));
        feed->failed = true;
    }
    feed->drained = false;
    feed->at_end = feed->at_end || got <= 0;
    if (got > 0 && !pump_feed(&feed->pump, buffer, (size_t)got)) {
        log_error(feed->log, "out of memory", log_number("message", (int64_t)feed->seen));
        feed->failed = true;
    }
}

/* Waits for what can bring it on; true if a signal came. */
static bool wait_for_events(struct feed *feed)
{
    struct pollfd events[] = {
        {.fd = feed->signal_fd, .events = POLLIN},
        {.fd = client_fd(feed->client), .events = POLLIN},
        {.fd = feed->drained && !feed->at_end ? feed->in_fd : -1, .events = POLLIN},
    };

    if (poll(events, sizeof events / sizeof *events, -1) < 0)
        return false; /* EINTR: look again */
    if (events[1].revents != 0)
        client_clear_fd(feed->client);
    if (events[2].revents != 0)
        read_more(feed);
    return events[0].revents != 0;
}

int feed_run(struct client *client, const struct log *log, int in_fd, int signal_fd)
{
    SCOPED(feed_free)
    struct feed feed = {.client = client,
                        .log = log,
                        .in_fd = in_fd,
                        .signal_fd = signal_fd,
                        .pump = pump_make(),
                        .drained = true};

    for (;;) {
        push_read(&feed);
        if (feed.failed || (feed.at_end && feed.drained && client_counts(client).pending == 0))
            break;
        if (wait_for_events(&feed)) {
            log_warning(log, "ended by a signal",
                        log_number("unacknowledged", (int64_t)client_counts(client).pending));
            return client_counts(client).pending > 0 || !feed.at_end ? 1 : 0;
        }
    }
    if (feed.failed)
        return 1;
    if (client_counts(client).dropped > 0) {
        log_error(log, "messages were dropped",
                  log_number("messages", (int64_t)client_counts(client).dropped));
        return 1;
    }
    return feed.refused > 0 ? EX_DATAERR : 0;
}
