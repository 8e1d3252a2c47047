/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * shard: a worker thread with its own agents, connections and states: one writer for each, so the
 * way of a sample needs no lock. It waits with epoll, reads each connection a batch at a time, and
 * between two batches looks whether somebody wants a cut, brings a connection, or wants it to end.
 * What is kept on disk is acknowledged when its marks are back. A shard that has read too much
 * since then, for the disk is slow or fails, reads no further, so its senders have to wait.
 * Threads: all from one; shard_give(), shard_give_marks() and shard_want_cut() from any.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agents.h"
#include "base/gate.h"
#include "base/log.h"
#include "conf/conf.h"
#include "connection.h"
#include "cut.h"
#include "ingest.h"
#include "reload/standstill.h"

/* Connections that come or go in the log: so many a second, and so many at once. */
#define SHARD_LOGGED_PER_SECOND 100
#define SHARD_LOGGED_AT_ONCE 2000

/* Bytes that all shards together may have read that are not on disk yet. */
#define SHARDS_MOST_UNSETTLED ((uint64_t)64 << 20)

/* What all shards share; outlives them. */
struct shard_common {
    const struct conf *conf; /* another one after a standstill */
    const struct log *log;
    bool verbose;
    struct families *families;
    struct taps *taps; /* who watches what the shards take */
    int shard_count;
    struct standstill standstill;
    struct standing *standing;        /* lent; NULL: no socket outlives a kill */
    struct shard *shards;             /* all of them, for handing over */
    _Atomic int64_t agent_count;      /* connected: rasad_agents */
    _Atomic int64_t connection_count; /* open */
    _Atomic bool is_left;             /* a start failed: what comes is the next process's */
    /* Takes a finished cut; called by the shard's thread, must not wait. Owns the cut, which is
     * NULL if there was no memory for it. */
    void (*take_cut)(void *context, int shard, struct cut *cut, uint64_t ticket);
    /* Hears, once after each cut, that there is something for the next one; called by the shard's
     * thread, must not wait. NULL: nobody wants to know, for nothing is kept on disk. */
    void (*note)(void *context, bool is_urgent);
    void *take_cut_context;       /* of both */
    _Atomic uint64_t *series_ids; /* see series_store.ids */
};

struct shard {
    struct shard_common *common;
    int index;
    pthread_t thread;
    bool running;
    int poller; /* epoll */
    int bell;   /* eventfd: the mailbox, a wish or the end */
    struct ingest ingest;
    struct agents agents;
    struct connection_context context;
    struct connection *connections; /* all, linked */
    struct connection *ended;       /* closed in this round, to be freed at its end */
    pthread_mutex_t mail_lock;
    struct connection *first_mail; /* newly given, linked, in their order; under the lock */
    struct connection *last_mail;
    struct marks *first_marks; /* newly back, in their order; under the lock */
    struct marks *last_marks;
    _Atomic bool has_mail;
    _Atomic uint64_t wanted_cut; /* the ticket of the newest wish */
    _Atomic bool wants_all;      /* and it is to hold everything */
    uint64_t made_cut;           /* the newest that was granted */
    bool has_noted;              /* since the last cut */
    bool has_hurried;            /* likewise: urgently */
    uint64_t unsettled_bytes;    /* read before the last cut, and not on disk yet */
    _Atomic bool stopping;
    _Atomic uint64_t pulse; /* counts whenever the thread comes by, for heartbeat.h */
    uint64_t seen_pulse;    /* of whoever looks */
    const struct crash_place *_Atomic place; /* the thread's own; NULL before it begins */
    size_t unstored;        /* connections that the service manager has no dup of */
    int64_t again_until_ns; /* steady: until when hellos that were asked for may come; 0: none */
    size_t agent_sweep_slot;
    int64_t next_sweep_ns; /* steady */
    struct gate endings;   /* for the log */
};

/* Makes shard `index`, not running yet. To be ended with shard_close(). */
bool shard_open(struct shard *shard, struct shard_common *common, int index,
                struct rasad_error *error);

/* Starts its thread. */
bool shard_start(struct shard *shard, struct rasad_error *error);

/* Ends the threads of all shards, after they applied what their connections' sockets hold by now.
 */
void shards_stop(struct shard *shards, int count);

/* After shards_stop(): acknowledges what is on disk by now; and closes the connections, which is
 * why, for the log. */
void shards_acknowledge(struct shard *shards, int count);
void shards_close_connections(struct shard *shards, int count, const char *why);

/* After shards_stop(): gives the service manager a dup of each connection that it has none of. */
void shards_store_connections(struct shard *shards, int count);

/* Frees all. Nobody may hold a series of it any more. */
void shard_close(struct shard *shard);

/* The sum over all shards of the counter at this offset in struct counters. */
uint64_t shards_sum(const struct shard *shards, int count, size_t offset);

/* Gives it a connection. */
void shard_give(struct shard *shard, struct connection *connection);

/* Gives it back the marks of a cut, which is on disk. */
void shard_give_marks(struct shard *shard, struct marks *marks);

/* Makes a cut, on its thread or while that stands still or has ended; NULL without memory, with
 * nothing changed. */
struct cut *shard_cut(struct shard *shard);

/* Has the next cut hold all that there is. */
void shard_want_all(struct shard *shard);

/* Has all shards look whether a standstill is wanted. */
void shards_wake(struct shard *shards, int count);

/* From now on it goes by this conf; on its thread, in a standstill. */
void shard_take_conf(struct shard *shard, const struct conf *conf);

/* Asks for a cut, of all that there is or of what has changed; common->take_cut() is called with
 * this or a later ticket. */
void shard_want_cut(struct shard *shard, uint64_t ticket, bool all);
