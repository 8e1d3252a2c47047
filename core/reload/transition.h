/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * transition: brings the series of one shard from the families of one conf to those of the next, in
 * a standstill and all or nothing. Series of families that go on as they are need nothing. Those
 * whose states must be migrated, or whose labels change, are made anew beside the old ones, which
 * stay untouched until every shard could do it; series that become equal for want of a label are
 * merged. Those of families that end, end.
 *   transition_prepare() on every shard; then families_commit() stands between transition_leave()
 * and transition_enter(); or else transition_abort(). Threads: the shard's. The store must have
 * nothing dirty, so a cut goes before. Memory: as much again as the series that are made anew; the
 * old ones are freed by transition_free(), when the shards go on already.
 */
#include "reload/family_next.h"
#include "series.h"

struct moved_series {
    struct series *old;
    struct series *new; /* NULL: it ends, or went into another one */
    bool left;          /* `old` is out of the store, and the transition's */
};

struct transition {
    struct moved_series *at;
    size_t count;
    size_t capacity;
    uint64_t *erased; /* ids on disk of those that went into others */
    size_t erased_count;
};

/* Makes what must be made anew, by `family->next`. On false nothing has changed, and it is empty.
 */
bool transition_prepare(struct transition *transition, struct series_store *store,
                        struct rasad_error *error);

/* Takes the old series out of the store. */
void transition_leave(struct transition *transition, struct series_store *store);

/* Puts the new ones in, for the next cut. They are in no view yet. */
void transition_enter(struct transition *transition, struct series_store *store);

/* Frees what was made anew. */
void transition_abort(struct transition *transition);

/* Frees the old series, which no view has any more; from any thread. */
void transition_free(struct transition *transition);
