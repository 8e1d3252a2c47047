/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * keeper: takes messages into the spool, so that whoever pushes one waits for no disk, nor does the
 * thread that talks to servers. A thread inside does what may wait: it writes messages in groups,
 * moves them from the inbox to the stream of the server in use, and lets go of what is
 * acknowledged.
 *
 * What is pushed waits in memory for the next group. If that grows too much, because the spool is
 * full or the disk is slow or fails, the policy applies: refuse, or drop the oldest. A short
 * hold-up of the disk is waited for all the same.
 *
 * Whoever wants a message safe before going on puts it (keeper_put()) and waits. What several put
 * meanwhile is written as one group, and what finds no room in time is taken back.
 *
 * Threads: keeper_push(), keeper_put() and what asks for counts from any; keeper_steer() from the
 * client's. The thread inside takes no signals. Memory:  at most KEEPER_MOST_BYTES and a message,
 * twice: what waits, and what is being written.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/log.h"
#include "message.h"
#include "spool.h"

#define KEEPER_MOST_BYTES (2 << 20)

struct keeper;

struct keeper_options {
    struct spool *spool; /* lent */
    size_t most_bytes;   /* of memory; at most KEEPER_MOST_BYTES */
    bool drop_oldest;
    int wake_fd;           /* lent: tells the client's thread that there is something to send */
    int event_fd;          /* lent: tells the pusher that there is room again */
    const struct log *log; /* lent */
};

struct keeper_counts {
    uint64_t waiting; /* pushed, and not in the spool yet */
    uint64_t dropped; /* before they were in the spool */
};

/* Starts the thread. To be ended with keeper_close(). */
bool keeper_open(const struct keeper_options *options, struct keeper **out,
                 struct rasad_error *error);

/* Takes a message over; on false, for want of room, it is still the caller's. */
bool keeper_push(struct keeper *keeper, struct message *message, struct rasad_error *error);

/*
 * Takes messages over and waits until they are as safe as the spool makes them; of what has no room
 * in time the last ones come back in the list, and with them SPOOL_FULL, or SPOOL_BROKEN and why.
 * Room is waited for at most `patience_ns` (-1: for ever), a disk as long as it takes. The messages
 * must not be too long for the spool.
 */
enum spool_result keeper_put(struct keeper *keeper, struct messages *messages, int64_t patience_ns,
                             struct rasad_error *error);

/* Whether keeper_push() would find room; if not, event_fd becomes readable once it would. */
bool keeper_has_room(struct keeper *keeper);

/* Waits until what was pushed is as safe as the spool makes it, at most so long (-1: for ever);
 * whether that was reached. */
bool keeper_sync(struct keeper *keeper, int64_t timeout_ns);

/* Says which server is in use (or SPOOL_NO_SERVER), and whether something else has changed that the
 * keeper should look at: acknowledgements, a stream that isn't ours. */
void keeper_steer(struct keeper *keeper, size_t server, bool has_news);

struct keeper_counts keeper_counts(struct keeper *keeper);

/* Brings what waits into the spool, as far as there is room, and ends the thread. */
void keeper_close(struct keeper *keeper);
