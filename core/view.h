/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * view: the published copies of all states: what scrapes read. Shards never touch it, so a scrape,
 * however long, stops none of them; what they changed comes in through cuts.
 * Threads: any. view_take() excludes readers; readers go side by side between view_begin() and
 * view_end(), and within that every series they see stays as it is; so do the families and the
 * conf, which a reload changes only while the view is shut. Memory: the view owns the removed
 * series of the cuts that it took; of live ones it has pointers.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include "crash.h"
#include "cut.h"

/* The view_index of a series that the view doesn't have. */
#define VIEW_NOWHERE UINT32_MAX

/* The series of one family, of all shards. */
struct view_family {
    struct series **at;
    size_t count;
    size_t capacity;
};

/* Readers at once of whom it is known where they are. */
#define VIEW_READERS 16

struct view {
    pthread_rwlock_t lock;
    _Atomic int64_t wanted_ns;    /* steady: since when somebody waits to shut it; 0: nobody */
    pthread_mutex_t readers_lock; /* on what follows */
    const struct crash_place *readers[VIEW_READERS]; /* their threads' places; NULL: nobody's */
    struct view_family *families;                    /* by family id */
    size_t family_count;
};

void view_open(struct view *view);

/* Frees the lists; the series in them belong to the shards. */
void view_close(struct view *view);

/* Takes in a cut and frees it. Cuts of one shard must come in the order in which they were made. */
void view_take(struct view *view, struct cut *cut);

/* Keeps readers out until view_end(). */
void view_shut(struct view *view);

/* The following are for who has shut it. */

/* As view_take(). */
void view_take_shut(struct view *view, struct cut *cut);

/* Adds a series with its published copy. Without memory it stays unseen until its next change. */
void view_add(struct view *view, struct series *series);

/* Forgets the series of a family. */
void view_drop_family(struct view *view, uint32_t id);

/* For how long somebody has been waiting for readers to end; 0: nobody waits. Readers wait for
 * nothing but memory, so one who takes long is in a plugin. */
int64_t view_waited_ns(const struct view *view, int64_t now_ns);

/* Notes a reader who is in a plugin as who hangs (crash_note_hang()); if there is none, nobody. */
void view_note_hang(struct view *view);

void view_begin(struct view *view);
void view_end(struct view *view);

/* The family's series, between view_begin() and view_end(). */
struct view_family view_family(const struct view *view, uint32_t id);
