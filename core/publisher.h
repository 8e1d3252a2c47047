/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * publisher: brings what the shards have changed to the disk and then into the view: asks every
 * shard for a cut, waits until all have made theirs (each between two batches, at its own time),
 * has the store write all of them in one commit, shows them, and sends the shards their marks back,
 * which they acknowledge. So what a scrape shows, and what an ack says, is on disk.
 *
 * There is never more than one commit under way, and the next begins when there is something, no
 * sooner than commit_interval after the last one, and so late that commits take no more than a
 * fifth of a core. What can't be written is kept and tried again; meanwhile no further cuts are
 * asked for.
 *
 * Without a store nothing is written: the view is brought up to date before each scrape, and once a
 * second.
 *
 * Threads: publisher_refresh() from any but the shards'; publisher_take_cut() and publisher_note()
 * from the shards'.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "cut.h"
#include "exporter/timing.h"
#include "shard.h"
#include "store/store.h"
#include "view.h"

struct publisher {
    struct view *view;
    struct shard_common *common;
    struct store *store;        /* lent; NULL: all state is in memory only */
    pthread_mutex_t refreshing; /* one refresh at a time, so that cuts come in their order */
    struct cut *pending;        /* taken, and not on disk: the last commit failed. Under it */
    bool has_asked_all;         /* the store wants all, and the shards know. Under it */
    bool holds_all;             /* and that is among what is pending. Under it */
    bool is_failing;            /* likewise */
    _Atomic uint64_t errors;    /* commits that failed */
    pthread_mutex_t lock;       /* on what follows */
    pthread_cond_t answered;
    uint64_t ticket;
    uint64_t *answers; /* the newest ticket that each shard has answered */
    bool lacks_cut;    /* a shard had no memory for its cut */
    struct cut *first; /* cuts not taken in yet, oldest first */
    struct cut **last;
    bool has_news;  /* shards have something for a commit */
    bool is_urgent; /* and it can't wait */
    pthread_cond_t news;
    struct timing took;
    pthread_t thread;
    bool running;
    bool stopping; /* under the lock */
};

bool publisher_open(struct publisher *publisher, struct view *view, struct shard_common *common,
                    struct store *store, struct rasad_error *error);

/* Starts the thread that commits, or refreshes the view every second. */
bool publisher_start(struct publisher *publisher, struct rasad_error *error);

/* Ends it; may be called again. */
void publisher_stop(struct publisher *publisher);

/* Forgets what is left, and frees all. The shards must have stopped. */
void publisher_close(struct publisher *publisher);

/* A shard's answer; fits shard_common.take_cut. */
void publisher_take_cut(void *context, int shard, struct cut *cut, uint64_t ticket);

/* A shard has something for the next commit, which is urgent if the shard is about to stop reading;
 * fits shard_common.note. */
void publisher_note(void *context, bool is_urgent);

/* Keeps all refreshes out, so that nobody asks for cuts, until publisher_resume(). */
void publisher_pause(struct publisher *publisher);
void publisher_resume(struct publisher *publisher);

/* While it is paused, before the shards hand in what is to be settled: has that be all there is, if
 * the store wants it. */
void publisher_prepare_settle(struct publisher *publisher);

/* While it is paused, and shards have handed their cuts in and make no others: commits and shows
 * all that is there. False if that can't be written; it stays to be tried again. */
bool publisher_settle(struct publisher *publisher, bool view_is_shut, struct rasad_error *error);

/* In a standstill, while it is paused and the view is shut: the same of all that the shards have
 * changed by now. */
bool publisher_settle_standing(struct publisher *publisher, struct rasad_error *error);

/*
 * Makes the view show at least all that the shards had applied when this was called. False if a
 * shard did not answer within two seconds; its last state stands. With a store the view is what is
 * on disk, and this changes nothing.
 */
bool publisher_refresh(struct publisher *publisher);

/* Commits what there is, now. */
bool publisher_commit(struct publisher *publisher, struct rasad_error *error);
