/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * client: pushes messages to the first of several servers that is there, each exactly once. A
 * thread inside owns all that has to do with the network (link.h, one for each server), so nothing
 * here waits for it.
 *
 * Messages go to the most preferred server that is connected. What was once sent to a server is
 * kept for that one until acknowledged, however long it is away; what was not sent yet waits in a
 * queue, in memory, for whichever comes.
 *
 * Threads: all functions but open and close from any thread; the thread inside takes no signals.
 * Memory:  at most max_bytes in the queue and LINK_WINDOW_BYTES for each server.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/log.h"

struct client;

struct client_options {
    const char *name;           /* under which the server shows our series; copied */
    const char *const *servers; /* "HOST:PORT", in order of preference; copied */
    size_t server_count;        /* at least 1 */
    size_t max_bytes;           /* of the queue; 0: 8 MiB */
    bool drop_oldest;           /* when the queue is full: make room, rather than refuse the new */
    const struct log *log;      /* for connections made and lost; lent until client_close() */
};

/* An answer to client_ping(). */
struct client_pong {
    uint64_t token; /* as given there */
    int64_t rtt_ns;
};

/* What became of the messages, since the start. */
struct client_counts {
    uint64_t pending; /* pushed, and neither acknowledged nor dropped */
    uint64_t acked;
    uint64_t dropped; /* pushed out of a full queue, never sent to anybody */
};

/* Begins to connect. To be ended with client_close(). */
bool client_open(const struct client_options *options, struct client **out,
                 struct rasad_error *error);

/*
 * Queues one message: a JSON object without an '@' member, or what the sender wants to have
 * refused as one (without a line feed at its end). Fails when there is no memory or, without
 * drop_oldest, no room; room comes with acknowledgements, see client_fd().
 */
bool client_push(struct client *client, const char *bytes, size_t length,
                 struct rasad_error *error);

/* Whether client_push() would find room. */
bool client_has_room(struct client *client);

/* Pings the server in use; without one nothing happens. */
void client_ping(struct client *client, uint64_t token);

/* Takes an answer that came; false if there is none. */
bool client_take_pong(struct client *client, struct client_pong *pong);

/* A descriptor that is readable (level-triggered) after answers and acknowledgements came, until
 * client_clear_fd(). Owned by the client. */
int client_fd(const struct client *client);

/* Makes the descriptor unreadable; to be called before looking at what came. */
void client_clear_fd(struct client *client);

struct client_counts client_counts(struct client *client);

/* Waits until nothing is pending, at most so long (-1: for ever); whether that was reached. It
 * clears the descriptor, so only one thread may wait. */
bool client_flush(struct client *client, int64_t timeout_ns);

/* Ends the connections and forgets what is pending. */
void client_close(struct client *client);

/* For SCOPED. */
void client_close_at(struct client **client);
