/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * spool: keeps messages from the moment they are taken until their server has them for good, so
 * that neither a kill nor a power cut loses one, nor sends it under another number. It lies in a
 * folder, or in memory:
 *
 *      FOLDER/lock                          whose holder owns the folder
 *      FOLDER/reserve                       space to give back when the disk is full
 *      FOLDER/AGENT.inbox/…                 a journal: messages that no server was given
 *      FOLDER/AGENT.to.SERVER/…             a journal: the stream of each server
 *
 * A message is numbered when it is taken (its origin). While a server is in use and follows, it
 * goes right into that server's stream, else into the inbox, from which it is moved to a stream
 * later. A stream's entries carry their origins, so what was moved is found out from the streams:
 * the inbox counts from the highest origin on. There is no other state, hence none that could
 * disagree.
 *
 *      taken ─► inbox ─► stream ─► sent ─► acknowledged ─► trailing window ─► unlinked
 *
 * What is acknowledged stays until two later acks and a minute (or 64 MiB) have passed, or a week
 * without acks, or space is wanted, so that a server that comes back older is given it again.
 *
 * What is lost, by a full spool or a damaged disk, is a hole between origins, and becomes a skip in
 * the stream, which tells the server how many they were.
 *
 * Threads: the functions of the keeper from one thread, which may wait for the disk; the others
 * from any, which never do (but may read a file). The lock inside is never held over a write.
 * Memory:  a descriptor for each segment, and a chunk for each reader; in memory all of it.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/log.h"
#include "base/text.h"
#include "message.h"

struct spool;

/* A smaller spool can't hold its own files. */
#define SPOOL_LEAST_BYTES (64 << 10)
#define SPOOL_MOST_BYTES (UINT64_C(16) << 30)

/* When a message counts as taken. */
enum spool_sync {
    SPOOL_SYNC_MEMORY, /* at once: nothing is written anywhere */
    SPOOL_SYNC_OS,     /* once written: it survives the end of the process */
    SPOOL_SYNC_DISK,   /* once synced: it survives a power cut */
};

struct spool_options {
    const char *folder;         /* made if need be; unused in memory */
    const char *agent;          /* whose messages; copied */
    const char *const *servers; /* "HOST:PORT", in order of preference; copied */
    size_t server_count;
    uint64_t max_bytes; /* SPOOL_LEAST_BYTES to SPOOL_MOST_BYTES */
    bool drop_oldest;   /* when full: make room, rather than refuse the new */
    enum spool_sync sync;
    const struct log *log; /* lent */
};

/* What became of the messages. */
struct spool_counts {
    uint64_t pending; /* kept, and not acknowledged; or 1 if just a drop is to be told */
    uint64_t acked;   /* since it was opened, skipped numbers as well */
    uint64_t dropped; /* since it was opened: lost for want of room, with a forsaken stream, or as
                       the disk has damaged them */
};

/* Opens or begins the spool. Refused if somebody else has it, or it is of a newer format. */
bool spool_open(const struct spool_options *options, struct spool **out, struct rasad_error *error);

/* Notes what is acknowledged, and closes. */
void spool_close(struct spool *spool);

struct spool_counts spool_counts(struct spool *spool);

/*
 * How many messages were ever taken: the origin of the last one. It is as durable as the messages,
 * and stays when they are acknowledged and gone, so a source that keeps its place can go on behind
 * it. What spool_take() was told to be lost in front of a message counts as well.
 */
uint64_t spool_taken(struct spool *spool);

/* ---- For links: `server` is an index into options.servers ---- */

/* What a hello says. */
struct spool_hello {
    char stream[33];
    uint64_t first; /* the oldest message there is */
    uint32_t chain; /* before it */
};

/* False while the stream is about to be replaced by a new one. */
bool spool_hello(struct spool *spool, size_t server, struct spool_hello *hello);

/*
 * Takes the server's answer: sending goes on behind `applied`, and all up to `committed` is
 * acknowledged, which may be less than before. False, with the difference in `error`, if the
 * server's stream is another one: then a new one takes its place, see spool_renew().
 */
bool spool_welcome(struct spool *spool, size_t server, uint64_t applied, uint64_t committed,
                   const uint32_t *chain, int64_t now_ns, struct rasad_error *error);

/* All up to this number is on the server's disk; false if it was never sent so many. */
bool spool_ack(struct spool *spool, size_t server, uint64_t committed, int64_t now_ns);

/* Adds what comes next, whole lines, until there are `most` bytes; false without memory, or if the
 * disk can't be read now, and then the connection must be given up. */
bool spool_send(struct spool *spool, size_t server, struct text *out, size_t most,
                struct rasad_error *error);

/* The connection has ended. */
void spool_hang_up(struct spool *spool, size_t server);

/* How many messages the server still has to acknowledge. */
uint64_t spool_unacked(struct spool *spool, size_t server);

/* ---- For the keeper ---- */

#define SPOOL_NO_SERVER SIZE_MAX

enum spool_result {
    SPOOL_DONE,
    SPOOL_FULL,   /* there is no room; it comes with acknowledgements */
    SPOOL_BROKEN, /* the disk fails: see the error */
};

/*
 * Takes a group off the front of the list, for this server or none; those that aren't taken are
 * still in it. `*lost` are messages that were dropped before the first of them; once that is
 * written, it becomes 0.
 */
enum spool_result spool_take(struct spool *spool, size_t server, struct messages *messages,
                             uint64_t *lost, struct rasad_error *error);

/* Whether there are messages to be moved to this server's stream, and room there. */
bool spool_can_move(struct spool *spool, size_t server);

/* Moves a group. */
enum spool_result spool_move(struct spool *spool, size_t server, struct rasad_error *error);

/* Replaces the streams that are not ours any more. */
enum spool_result spool_renew(struct spool *spool, struct rasad_error *error);

/* Whether spool_renew() has something to do. */
bool spool_must_renew(struct spool *spool);

/* Lets go of what is needed no more. Returns when to be called again; INT64_MAX: after acks. */
int64_t spool_trim(struct spool *spool, int64_t now_ns);

/* After SPOOL_BROKEN: makes all the space that can be made, for another try of spool_take()
 * (`is_for_new`) or of the others, which may use the reserve. Messages are dropped for it only if
 * it was space that was wanting. */
void spool_relieve(struct spool *spool, bool is_for_new);

/* The longest message that spool_take() can take. */
size_t spool_longest(const struct spool *spool);
