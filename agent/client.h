/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * client: pushes messages to the first of several servers that is there, each exactly once. What is
 * pushed is taken into a spool (spool.h) by a thread inside (keeper.h), on disk or in memory;
 * another one owns all that has to do with the network (link.h, one for each server). So nothing
 * here waits for a disk or a server.
 *
 * Messages go to the most preferred server that is connected. What was once sent to a server is
 * kept for that one until acknowledged, however long it is away; what was not sent yet waits for
 * whichever comes. With a spool on disk all that survives the process, which another one may go on
 * with under the same name.
 *
 * Threads: all functions but open and close from any thread; the threads inside take no signals.
 * Memory:  see keeper.h, and 64 KiB for each server; without a folder also the spool.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/log.h"
#include "message.h"
#include "spool.h"

struct client;

struct client_options {
    const char *name;           /* under which the server shows our series; copied */
    const char *const *servers; /* "HOST:PORT", in order of preference; copied */
    size_t server_count;        /* at least 1 */
    const char *folder;         /* of the spool, which no other client may use; NULL: in memory */
    uint64_t max_bytes;         /* of the spool; 0: 64 MiB on disk, 8 MiB in memory */
    enum spool_sync sync;       /* when a message is taken; without a folder at once */
    bool drop_oldest;           /* when the spool is full: make room, rather than refuse the new */
    const struct log *log;      /* for connections made and lost; lent until client_close() */
};

/* An answer to client_ping(). */
struct client_pong {
    uint64_t token; /* as given there */
    int64_t rtt_ns;
};

/* What became of the messages. */
struct client_counts {
    uint64_t pending; /* pushed, now or earlier, and neither acknowledged nor dropped */
    uint64_t acked;   /* since the start */
    uint64_t dropped; /* since the start; the server is told how many */
};

/* Opens the spool and begins to connect. Fails if another client has the spool, or it is of a newer
 * format. To be ended with client_close(). */
bool client_open(const struct client_options *options, struct client **out,
                 struct rasad_error *error);

/*
 * Pushes one message: a JSON object without an '@' member, or what the sender wants to have
 * refused as one (without a line feed at its end). It is taken a moment later, see client_sync().
 * Fails when there is no memory, the message is longer than a quarter of the spool, or, without
 * drop_oldest, there is no room; room comes with acknowledgements, see client_fd().
 */
bool client_push(struct client *client, const char *bytes, size_t length,
                 struct rasad_error *error);

/* Pushes a message that it takes over; on false it is still the caller's. */
bool client_give(struct client *client, struct message *message, struct rasad_error *error);

/*
 * Takes messages over, which are such as client_push() takes, and waits until they are as safe as
 * options.sync says. Room is waited for at most so long (-1: for ever); of those that have none in
 * time the last ones are still in the list, see keeper_put().
 */
enum spool_result client_put(struct client *client, struct messages *messages, int64_t timeout_ns,
                             struct rasad_error *error);

/* The longest message that has room in the spool. */
size_t client_longest(const struct client *client);

/* Whether client_push() would find room. */
bool client_has_room(struct client *client);

/* Waits until all that was pushed is as safe as options.sync says, at most so long (-1: for ever);
 * whether that was reached. From then on no end of the process loses it. */
bool client_sync(struct client *client, int64_t timeout_ns);

/*
 * How many messages have ever been taken under this name, in this and earlier processes: the number
 * of the last one, where those that were dropped count. It is exact after any end of the process
 * and, with SPOOL_SYNC_DISK, of the machine. A source that can be read again from a place of its
 * own pushes each message once if it goes on behind client_taken() after client_open(). Messages
 * that were just pushed count after client_sync().
 */
uint64_t client_taken(struct client *client);

/* Pings the server in use; without one nothing happens. */
void client_ping(struct client *client, uint64_t token);

/* Takes an answer that came; false if there is none. */
bool client_take_pong(struct client *client, struct client_pong *pong);

/* A descriptor that is readable (level-triggered) after answers and acknowledgements came, or there
 * is room again, until client_clear_fd(). Owned by the client. */
int client_fd(const struct client *client);

/* Makes the descriptor unreadable; to be called before looking at what came. */
void client_clear_fd(struct client *client);

struct client_counts client_counts(struct client *client);

/* Waits until nothing is pending, at most so long (-1: for ever); whether that was reached. */
bool client_flush(struct client *client, int64_t timeout_ns);

/* Ends the connections. What is pending stays in the spool; in memory it is forgotten. */
void client_close(struct client *client);

/* For SCOPED. */
void client_close_at(struct client **client);
