/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * spool_inside: what spool_open.c, spool.c (what links ask for), and for the keeper spool_keep.c
 * (taking and moving) and spool_room.c (making room, trimming) share. For nobody else.
 */
#include <pthread.h>

#include "base/gate.h"
#include "journal.h"
#include "spool.h"

/* A server's stream. */
struct spool_stream {
    char *server; /* owned */
    struct journal journal;
    bool is_orphan;       /* of a server that isn't in use any more: kept, and nothing else */
    bool is_forsaken;     /* to be replaced: the server's stream is another one */
    uint64_t acked;       /* the server has all up to this number on disk */
    uint64_t acks;        /* that came and brought something */
    uint64_t sent;        /* the highest number that the server may have been given */
    uint64_t damaged;     /* up to here, what was found damaged is told */
    uint64_t hello_first; /* what the last hello said is the oldest message that there is */
    struct journal_reader reader; /* what it is given next; number 0 without a connection */
};

struct spool {
    /* Constant. */
    char *path;  /* owned; NULL in memory */
    int folder;  /* owned; -1 in memory */
    int lock_fd; /* owned; holds the flock */
    char *agent; /* owned */
    const struct log *log;
    uint64_t max_bytes;
    uint64_t segment_bytes;
    uint64_t window_bytes; /* what a server is given without acknowledging */
    bool drop_oldest;
    enum spool_sync sync;
    size_t server_count; /* of the streams, which come first */
    size_t stream_count;
    struct spool_stream *streams;

    pthread_mutex_t lock; /* of all that readers see: the journals' lists and ends, and streams */
    struct journal inbox;
    uint64_t taken;    /* the origin of the last message that was taken */
    uint64_t consumed; /* the origin of the last message that went to a stream */
    uint64_t dropped;
    int64_t acked_total; /* a server that comes back older takes some back */

    /* The keeper's. */
    struct journal_reader inbox_reader;
    struct gate drop_gate; /* of the log lines about what was dropped */
    bool has_reserve;
    bool lacks_space;   /* the last spool_take() has failed for want of it */
    int64_t reserve_ns; /* when to try again to make one */
};

/* Opens an agent's inbox and all its streams, those of servers that aren't in use as orphans. */
bool spool_open_agent(struct spool *spool, const char *const *servers, size_t count,
                      struct rasad_error *error);

/* How many messages the stream's server may still want. */
uint64_t spool_stream_unacked(const struct spool_stream *stream);

/* How many messages the inbox holds for whichever server comes. */
uint64_t spool_inbox_count(const struct spool *spool);

/* Whether the inbox has something for a stream: messages, or that some were dropped. */
bool spool_has_backlog(const struct spool *spool);

/* Reserves space on the disk, if it isn't yet. What comes new is taken only while there is a
 * reserve: it is for moving on, and letting go of, what is there already. */
void spool_make_reserve(struct spool *spool);

/* Counts messages that the disk had and can't be made out any more, and tells of them. Under the
 * lock. */
void spool_tell_damage(struct spool *spool, const struct journal *journal, uint64_t count);

/* ---- For the keeper ---- */

/* Lets go of a segment that only the trailing window kept; false if there is none. */
bool spool_free_one(struct spool *spool);

/* How much may be moved into a stream now, in a group: less where the disk is full. */
size_t spool_movable(struct spool *spool, size_t group);

/* Makes room for so many bytes more; `may_drop` says whether messages may be lost for it. */
bool spool_make_room(struct spool *spool, size_t bytes, bool may_drop);

/* Lets go of the journal's first segment, which isn't the last. */
void spool_let_go(struct spool *spool, struct journal *journal);

/* Whether all of a segment may go: up to number `done` nobody needs anything. */
bool spool_is_done(const struct segment *segment, uint64_t done);

/* What the stream's server has, read under the lock. */
uint64_t spool_acked_of(struct spool *spool, const struct spool_stream *stream);
