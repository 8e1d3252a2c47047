/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "admin/admin_client.h"
#include "admin/json_add.h"
#include "base/scoped.h"
#include "server.h"

/* What a client takes up of his lines before he gets the next ones. */
struct tail {
    struct admin_client *client;
    struct tap tap;
    struct text lines;
    size_t sent;
};

/* Sends what the socket takes; false if the client is gone. */
static bool send_some(struct tail *tail)
{
    while (tail->sent < tail->lines.length) {
        ssize_t n = send(tail->client->fd, tail->lines.at + tail->sent,
                         tail->lines.length - tail->sent, MSG_DONTWAIT | MSG_NOSIGNAL);

        if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
            return true;
        if (n < 0 && errno != EINTR)
            return false;
        tail->sent += n > 0 ? (size_t)n : 0;
    }
    return true;
}

/* Takes the next lines, with the number of those that were skipped behind them. */
static void take_lines(struct tail *tail)
{
    uint64_t skipped;

    tap_take(&tail->client->server->taps, &tail->tap, &tail->lines, &skipped);
    tail->sent = 0;
    if (skipped == 0)
        return;
    json_add_open(&tail->lines, NULL, '{');
    json_add_count(&tail->lines, "skipped", skipped);
    json_add_close(&tail->lines, '}');
    text_add_char(&tail->lines, '\n');
}

/* Until the client is gone or speaks, or the server stops. However slow he is, he may stay. */
static void watch(struct tail *tail)
{
    bool heard = false;

    while (!heard) {
        bool unsent = tail->sent < tail->lines.length;

        if (!admin_client_wait(tail->client, (short)(POLLIN | (unsent ? POLLOUT : 0)),
                               unsent ? -1 : tail->tap.bell, -1, &heard))
            return;
        if (!unsent)
            take_lines(tail);
        if (!send_some(tail))
            return;
    }
}

static bool say_ok(struct admin_client *client)
{
    text_add_string(&client->out, "{\"ok\":true}\n");
    return admin_client_flush(client);
}

void admin_watch_tail(struct admin_client *client, const struct admin_request *request)
{
    const struct tap_filter filter = {
        .agent = request->agent, .key = request->key, .rejected = request->rejected};
    struct taps *taps = &client->server->taps;
    struct tail tail = {.client = client};
    struct rasad_error error;

    if (!tap_open(taps, &tail.tap, &filter, &error)) {
        admin_client_refuse(client, EXIT_FAILURE, "error", error.text);
        (void)admin_client_flush(client);
        return;
    }
    if (say_ok(client))
        watch(&tail);
    tap_close(taps, &tail.tap);
    text_free(&tail.lines);
}

/* A connection of a sender made of the client's; NULL after a refusal. */
static struct connection *make_connection(struct admin_client *client)
{
    struct server *server = client->server;
    char address[ADDRESS_LENGTH];
    struct connection *connection;

    (void)snprintf(address, sizeof address, "rasadctl:%ld", (long)client->pid);
    if (atomic_load(&server->common.connection_count) >= server->listener.most) {
        admin_client_refuse(client, EXIT_FAILURE, "error",
                            "as many connections are open as file descriptors allow");
        (void)admin_client_flush(client);
        return NULL;
    }
    if (!say_ok(client))
        return NULL;
    connection =
        connection_new(take_fd(&client->fd), address, atomic_load(&server->listener.max_message));
    if (connection != NULL)
        connection_make_report(connection);
    return connection;
}

void admin_watch_send(struct admin_client *client)
{
    struct shard_common *common = &client->server->common;
    size_t taken = frame_drop(&client->frame);
    struct connection *connection = make_connection(client);
    int64_t open;

    if (connection == NULL)
        return;
    /* What came behind the request is the sender's first. */
    text_add(&connection->in, client->in.at + taken, client->in.length - taken);
    open = atomic_fetch_add(&common->connection_count, 1) + 1;
    log_info(common->log, "new connection", log_text("address", connection->address));
    log_info(common->log, "active connections", log_number("count", open));
    shard_give(&common->shards[connection_shard(connection->address, strlen(connection->address),
                                                common->shard_count)],
               connection);
}
