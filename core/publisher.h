/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * publisher: brings what the shards have changed into the view: asks every shard for a cut, waits
 * until all have made theirs (each between two batches, at its own time), and takes them in.
 * Threads: publisher_refresh() from any but the shards'; publisher_take_cut() from the shards'.
 */
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "cut.h"
#include "exporter/timing.h"
#include "shard.h"
#include "view.h"

struct publisher {
    struct view *view;
    struct shard *shards;
    int shard_count;
    pthread_mutex_t refreshing; /* one refresh at a time, so that cuts come in their order */
    pthread_mutex_t lock;       /* on what follows */
    pthread_cond_t answered;
    uint64_t ticket;
    uint64_t *answers; /* the newest ticket that each shard has answered */
    struct cut *first; /* cuts not taken in yet, oldest first */
    struct cut **last;
    struct timing took;
    pthread_t thread; /* keeps the view no older than a second, whether anybody scrapes or not */
    bool running;
    bool stopping; /* under the lock */
    pthread_cond_t stop;
};

bool publisher_open(struct publisher *publisher, struct view *view, struct shard *shards,
                    int shard_count, struct rasad_error *error);

/* Starts the thread that refreshes the view every second, so that what shards remove is freed. */
bool publisher_start(struct publisher *publisher, struct rasad_error *error);

/* Ends it; may be called again. */
void publisher_stop(struct publisher *publisher);

/* Takes in what is left, then frees all. The shards must have stopped. */
void publisher_close(struct publisher *publisher);

/* A shard's answer; fits shard_common.take_cut. */
void publisher_take_cut(void *context, int shard, struct cut *cut, uint64_t ticket);

/* Keeps all refreshes out, so that nobody asks for cuts, until publisher_resume(). */
void publisher_pause(struct publisher *publisher);
void publisher_resume(struct publisher *publisher);

/* Takes in what shards answered too late, while all of them stand still and the view is shut. */
void publisher_take_late(struct publisher *publisher);

/*
 * Makes the view show at least all that the shards had applied when this was called. False if a
 * shard did not answer within two seconds; its last state stands.
 */
bool publisher_refresh(struct publisher *publisher);
