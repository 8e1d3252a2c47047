/* SPDX-License-Identifier: Apache-2.0 */
#include "admin/admin_dump.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include "admin/json_add.h"
#include "base/clock.h"
#include "base/memory_file.h"
#include "base/scoped.h"
#include "server.h"

/* How long a client may take nothing of it, while it takes up memory. */
#define PATIENCE_MS (10 * 60 * 1000)

#define PIECE_BYTES (64 << 10)

/* The backup in a file in memory; no commit is held up for longer than that takes. */
static bool make(struct server *server, int file, uint64_t *bytes, struct rasad_error *error)
{
    int64_t start_ns = clock_steady_ns();
    bool fine;

    if (file < 0)
        return rasad_fail(error, "cannot make a file in memory: %s", strerror(errno));
    publisher_pause(&server->publisher);
    fine = store_dump(server->store, file, clock_wall_ns(), bytes, error);
    publisher_resume(&server->publisher);
    if (fine)
        log_info(server->log, "backup made", log_number("bytes", (int64_t)*bytes),
                 log_number("ms", (clock_steady_ns() - start_ns) / NS_PER_MS));
    return fine;
}

/* Sends the piece; false if the client is gone or takes nothing, or the server stops. */
static bool send_piece(struct admin_client *client, const char *at, size_t size)
{
    bool heard;

    while (size > 0) {
        ssize_t n = send(client->fd, at, size, MSG_DONTWAIT | MSG_NOSIGNAL);

        if (n > 0) {
            at += n;
            size -= (size_t)n;
        } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
            if (!admin_client_wait(client, POLLOUT, -1, PATIENCE_MS, &heard))
                return false;
        } else if (errno != EINTR) {
            return false;
        }
    }
    return true;
}

static bool send_file(struct admin_client *client, int file, uint64_t bytes)
{
    SCOPED(free_at) char *room = malloc(PIECE_BYTES);

    for (uint64_t at = 0; room != NULL && at < bytes;) {
        ssize_t got = pread(file, room, PIECE_BYTES, (off_t)at);

        if (got <= 0 || !send_piece(client, room, (size_t)got))
            return false;
        at += (uint64_t)got;
    }
    return room != NULL;
}

static bool dump(struct admin_client *client)
{
    SCOPED(close_at) int file = memory_file("rasad backup");
    struct rasad_error error = {""};
    uint64_t bytes;

    if (!make(client->server, file, &bytes, &error)) {
        admin_client_refuse(client, EXIT_FAILURE, "error", error.text);
        return admin_client_flush(client);
    }
    json_add_open(&client->out, NULL, '{');
    json_add_bool(&client->out, "ok", true);
    json_add_count(&client->out, "bytes", bytes);
    json_add_close(&client->out, '}');
    text_add_char(&client->out, '\n');
    return admin_client_flush(client) && send_file(client, file, bytes);
}

bool admin_dump(struct admin_client *client)
{
    struct server *server = client->server;
    bool goes_on;

    if (server->store == NULL || atomic_exchange(&server->is_dumping, true)) {
        admin_client_refuse(client, EXIT_FAILURE, "error",
                            server->store == NULL
                                ? "this server keeps its state in memory only (its conf says "
                                  "state_dir = \"\")"
                                : "another backup is being taken (try again when it has ended)");
        return admin_client_flush(client);
    }
    goes_on = dump(client);
    atomic_store(&server->is_dumping, false);
    return goes_on;
}
