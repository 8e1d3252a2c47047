/* SPDX-License-Identifier: Apache-2.0 */
#include "admin/admin_client.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sysexits.h>
#include <unistd.h>

#include "admin/admin_dump.h"
#include "admin/admin_show.h"
#include "admin/admin_steer.h"
#include "admin/json_add.h"
#include "base/clock.h"
#include "base/scoped.h"

/* How long a client may be silent between two requests, take to send one, and to read a reply. */
#define IDLE_MS (10 * 60 * 1000)
#define REQUEST_MS (10 * 1000)
#define REPLY_MS (60 * 1000)

#define READ_BYTES (16 << 10)

bool admin_client_wait(struct admin_client *client, short events, int bell, int timeout_ms,
                       bool *heard)
{
    struct pollfd polled[] = {
        {.fd = client->stop, .events = POLLIN},
        {.fd = client->fd, .events = events},
        {.fd = bell, .events = POLLIN}, /* a negative one is passed over */
    };
    int ready;

    do
        ready = poll(polled, sizeof polled / sizeof *polled, timeout_ms);
    while (ready < 0 && errno == EINTR);
    *heard = (polled[1].revents & (POLLIN | POLLHUP | POLLERR)) != 0;
    return ready > 0 && polled[0].revents == 0;
}

/* What is left until then, for poll(2). */
static int ms_until(int64_t deadline_ns)
{
    int64_t left_ns = deadline_ns - clock_steady_ns();

    return left_ns > 0 ? (int)(left_ns / NS_PER_MS) + 1 : 0;
}

bool admin_client_flush(struct admin_client *client)
{
    int64_t deadline_ns = clock_steady_ns() + REPLY_MS * NS_PER_MS;
    size_t sent = 0;

    if (client->out.failed) {
        text_free(&client->out);
        admin_client_refuse(client, EXIT_FAILURE, "error", "the server is out of memory");
    }
    while (sent < client->out.length) {
        ssize_t n = send(client->fd, client->out.at + sent, client->out.length - sent,
                         MSG_DONTWAIT | MSG_NOSIGNAL);
        bool heard;

        if (n > 0)
            sent += (size_t)n;
        else if (errno == EAGAIN || errno == EWOULDBLOCK) {
            if (!admin_client_wait(client, POLLOUT, -1, ms_until(deadline_ns), &heard))
                return false;
        } else if (errno != EINTR) {
            return false;
        }
    }
    text_free(&client->out); /* a large one was an exception */
    return true;
}

void admin_client_refuse(struct admin_client *client, int code, const char *member,
                         const char *text)
{
    text_clear(&client->out);
    json_add_open(&client->out, NULL, '{');
    json_add_bool(&client->out, "ok", false);
    json_add_count(&client->out, "code", (uint64_t)code);
    json_add_string(&client->out, member, text);
    json_add_close(&client->out, '}');
    text_add_char(&client->out, '\n');
}

/* Adds what has come; false at the end of the connection. */
static bool read_more(struct admin_client *client)
{
    ssize_t got;

    if (!text_reserve(&client->in, READ_BYTES))
        return false;
    got = recv(client->fd, client->in.at + client->in.length, READ_BYTES, MSG_DONTWAIT);
    if (got > 0)
        client->in.length += (size_t)got;
    return got > 0 || (got < 0 && (errno == EAGAIN || errno == EINTR));
}

/* Waits for a whole value. It is [*at, *at + *size) of what came in. False at the end. */
static bool next_value(struct admin_client *client, enum frame_kind *kind, size_t *at, size_t *size)
{
    int64_t deadline_ns = clock_steady_ns() + IDLE_MS * NS_PER_MS;

    for (;;) {
        bool had = client->in.length > 0, heard;

        if (had) {
            *kind = frame_next(&client->frame, client->in.at, client->in.length, at, size);
            if (*kind != FRAME_MORE)
                return true;
        }
        if (!admin_client_wait(client, POLLIN, -1, ms_until(deadline_ns), &heard) ||
            !read_more(client))
            return false;
        if (!had)
            deadline_ns = clock_steady_ns() + REQUEST_MS * NS_PER_MS;
    }
}

/* Answers a verb that has one reply. */
static void answer(struct admin_client *client, const struct admin_request *request)
{
    struct rasad_error error = {""};

    if (request->verb == ADMIN_PLAN || request->verb == ADMIN_RELOAD) {
        admin_steer(client, request);
        return;
    }
    if (request->verb == ADMIN_UPGRADE) {
        admin_upgrade(client);
        return;
    }
    json_add_open(&client->out, NULL, '{');
    json_add_bool(&client->out, "ok", true);
    if (!admin_show(client->server, request, &client->out, &error)) {
        admin_client_refuse(client, EX_USAGE, "error", error.text);
        return;
    }
    json_add_close(&client->out, '}');
    text_add_char(&client->out, '\n');
}

/* Does what an object asks for; false if the connection ends with that. */
static bool take_request(struct admin_client *client, size_t at, size_t size)
{
    struct rasad_error error = {""};
    struct admin_request request;
    json_object *object =
        message_read(client->reader, client->in.at + at, size, client->frame.traits);

    if (object == NULL)
        return false;
    if (!admin_request_read(object, &request, &error)) {
        admin_client_refuse(client, EX_USAGE, "error", error.text);
        return admin_client_flush(client);
    }
    if (request.verb == ADMIN_TAIL) {
        admin_watch_tail(client, &request);
        return false;
    }
    if (request.verb == ADMIN_SEND) {
        admin_watch_send(client);
        return false;
    }
    if (request.verb == ADMIN_DUMP)
        return admin_dump(client);
    answer(client, &request);
    return admin_client_flush(client);
}

/* Forgets the request that was answered. */
static void drop(struct admin_client *client)
{
    size_t dropped = frame_drop(&client->frame);

    memmove(client->in.at, client->in.at + dropped, client->in.length - dropped);
    client->in.length -= dropped;
}

static void take_requests(struct admin_client *client)
{
    enum frame_kind kind;
    size_t at, size;

    while (next_value(client, &kind, &at, &size)) {
        if (kind == FRAME_DISCONNECT)
            return;
        if (kind != FRAME_OBJECT) {
            admin_client_refuse(client, EX_USAGE, "error",
                                "the request is no JSON object of at most 64 KiB");
            (void)admin_client_flush(client);
            return;
        }
        if (!take_request(client, at, size))
            return;
        drop(client);
    }
}

void admin_client_serve(struct admin_client *client)
{
    client->frame = frame_make(ADMIN_MOST_REQUEST);
    client->reader = message_reader_new();
    if (client->reader != NULL)
        take_requests(client);
    message_reader_free(client->reader);
    text_free(&client->in);
    text_free(&client->out);
    close_at(&client->fd);
    client->fd = -1;
}
