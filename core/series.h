/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * series: the states of a shard, found by family, agent and label values.
 * Threads: a store belongs to its shard. Of a series, the identity (family, agent, labels, whether
 * it is the overflow) is constant; the state is the shard's; the published copy is the
 * view's (view.h). Memory: one block a series. The store owns it until it is removed; then it goes
 * through the next cut to the view, which frees it.
 */
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agents.h"
#include "cut.h"
#include "family.h"
#include "message.h"
#include "table.h"

enum {
    SERIES_DIRTY = 1,   /* in the list of what the next cut copies */
    SERIES_REMOVED = 2, /* out of the table; the next cut hands it over */
    SERIES_USED = 4,    /* it has taken a sample */
};

struct series {
    struct table_item item;
    uint8_t flags;    /* the shard's */
    bool is_overflow; /* {overflow="true"}: all that is beyond max_series */
    struct family *family;
    struct agent *agent; /* a reference; NULL where agents are not told apart, and in overflow */
    struct series *next_dirty;
    uint64_t id;                /* on disk; 0: it never was in a cut for it */
    int64_t created_ns;         /* wall */
    _Atomic int64_t updated_ns; /* steady; written by the shard, read by all */
    uint32_t view_index;        /* the view's: its place there, or VIEW_NOWHERE */
    uint32_t labels_size;       /* bytes of the label values */
    /* The state, the published copy, and the label values: series_state() and so on. */
    _Alignas(8) unsigned char bytes[];
};

/* Label values as a key: for each declared label two bytes of length and the value. */
#define SERIES_LABEL_HEAD 2
#define SERIES_MAX_LABEL_BYTES (MESSAGE_MAX_LABELS * (SERIES_LABEL_HEAD + MESSAGE_MAX_LABEL_VALUE))

struct series_store {
    struct table table;
    struct series **overflow; /* by family id, made as they are needed */
    uint32_t overflow_count;
    struct series *first_dirty;
    size_t dirty_count;
    size_t removed_count;  /* of them, how many are to be handed over */
    _Atomic uint64_t *ids; /* the last id that was given, of all shards; NULL: none is needed */
    uint64_t *erased;      /* ids of series that went into others, for the next cut */
    size_t erased_count;
    size_t sweep_slot;
    unsigned char labels[SERIES_MAX_LABEL_BYTES]; /* those of the sample at hand */
};

static inline void *series_state(struct series *series)
{
    return series->bytes;
}

static inline void *series_published(struct series *series)
{
    return series->bytes + series->family->state_size;
}

/* The value of declared label `i`; "" and length 0 where the series has none. */
const char *series_label(const struct series *series, size_t i, size_t *length);

/* All label values as one run of bytes, which is equal for equal labels of one family. */
const unsigned char *series_labels(const struct series *series);

/* Puts a label's value at the end of a run of them; returns the end. */
unsigned char *series_put_label(unsigned char *at, const char *value, size_t length);

/* The hash of an identity. */
uint32_t series_hash(const struct family *family, const struct agent *agent, const void *labels,
                     size_t labels_size);

/* A series that is like another but for its labels and the size of its state, which is the caller's
 * to make; in no store and no view. NULL if there is no memory. */
struct series *series_new(const struct series *like, size_t state_size, const void *labels,
                          uint32_t labels_size);

/* An empty store. */
void series_store_open(struct series_store *store);

/* Frees all series, also those that wait for a cut; nobody may hold one any more. */
void series_store_close(struct series_store *store);

/*
 * The series that a sample belongs to, made if need be; beyond max_series the overflow series.
 * NULL: `*reason` and the error say why not.
 */
struct series *series_get(struct series_store *store, struct family *family, struct agent *agent,
                          const struct sample *sample, int64_t wall_ns, enum reject *reason,
                          struct rasad_error *error);

/* Takes a series back that never took a sample: one that was made for a sample that the plugin then
 * refused would show a series that nobody sent. */
void series_discard_if_new(struct series_store *store, struct series *series);

/*
 * The series of this identity, for a state that comes from disk: the one that is there, or else a
 * new one with a fresh state, which has its place whether one is left or not. `like` has the
 * family, the agent and what is constant of a new one. NULL without memory.
 */
struct series *series_restore(struct series_store *store, const struct series *like,
                              const void *labels, uint32_t labels_size, bool *is_new);

/* Out of the store, in which nothing may be dirty; for a transition, which puts as many in at most.
 */
void series_take_out(struct series_store *store, struct series *series);
void series_put_in(struct series_store *store, struct series *series);

/* The next cut says that what has this id on disk is gone; false without memory. And takes the last
 * of these back. */
bool series_erase(struct series_store *store, uint64_t id);
void series_erase_not(struct series_store *store, uint64_t id);

/* Has the next cut copy the series. */
void series_mark(struct series_store *store, struct series *series);

/* Has the next cut copy all of them. */
void series_mark_all(struct series_store *store);

/* Notes that the state has changed. */
void series_touch(struct series_store *store, struct series *series, int64_t steady_ns);

/* The age limits of a sweep. */
struct series_limits {
    int64_t now_ns;              /* steady */
    int64_t anonymous_expire_ns; /* 0: never */
};

/* Removes what has expired among the next `most` slots of the table. */
void series_sweep(struct series_store *store, size_t most, const struct series_limits *limits);

/* Copies all that is dirty and hands over all that is removed; NULL if there is no memory (then
 * nothing has changed). To be given to a view, or to cut_free(). */
struct cut *series_cut(struct series_store *store);
