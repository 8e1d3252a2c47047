/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * heartbeat: tells the service manager's watchdog (WatchdogSec=) that the server works: its loop
 * turns, each shard has come by since the last beat, and no scrape keeps commits from being shown
 * for longer than the watchdog's whole time. If a plugin never returns the beats stop, and the
 * manager kills the process and starts another. A beat is due three times in its time, and one that
 * was left out is made up for soon after the shard has come by, or the manager has a moment.
 *   The committer is no part of it: it waits for the disk, and while a disk hangs the rest works,
 * scrapes too; a new process would only hang at its start. Shards that stand still for a reload or
 * an upgrade, which commit as well, have a minute, and so has an upgrade that holds the loop.
 * Threads: that of the server's loop. Time: passed in (steady). Memory: a plain value.
 */
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "shard.h"
#include "view.h"

struct heartbeat {
    struct view *view; /* lent */
    int64_t every_ns;  /* 0: nobody asks for beats */
    int64_t next_ns;
    int64_t still_since_ns; /* since when shards were met that stand still; 0: they weren't */
    bool is_missing;        /* a shard didn't come by, or a scrape doesn't end */
    bool is_unheard;        /* all is well, and the manager was too busy to hear it */
};

/* Beats that are due so often, which is a third of the watchdog's time; 0: never. */
struct heartbeat heartbeat_make(struct view *view, int64_t every_ns, int64_t now_ns);

/* How long the loop may wait for other things; -1: for ever. */
int heartbeat_wait_ms(const struct heartbeat *heartbeat, int64_t now_ns);

/* Beats, if it is time and all is well. */
void heartbeat_turn(struct heartbeat *heartbeat, struct shard_common *common, int64_t now_ns);

/* Takes a lock which somebody may have for long, for whom the loop must wait, and beats meanwhile;
 * for a minute, for it may never be let go. */
void heartbeat_lock(struct heartbeat *heartbeat, struct shard_common *common,
                    pthread_mutex_t *lock);
