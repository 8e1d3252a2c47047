/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * cut: what changed in a shard since its last cut, copied between two batches: states of series,
 * series that are gone, and how far its streams have come. The shard makes it; the store writes it,
 * in one transaction, so a state and the numbers it has reached are never apart; then the view
 * takes it in, and its marks go back to the shard, which acknowledges. Nothing else passes between
 * those who write states and those who read them. Memory: owned by whoever holds it. The removed
 * series in it belong to it as well.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct series;
struct stream;

/* How far a stream had come when the cut was made. */
struct mark {
    struct stream *stream; /* lent; it lives until the mark is back at its shard */
    uint64_t applied;
    uint32_t chain;
    bool gone;            /* the stream is forgotten, and ends with the mark */
    bool in_use;          /* a connection has it */
    int64_t last_used_ns; /* steady; otherwise */
    int64_t last_seen_ns; /* wall; of its agent */
};

/* The marks of a cut; those that are gone come first, and own their streams. */
struct marks {
    struct marks *next; /* for a queue of them */
    uint64_t bytes;     /* that the shard has read since the cut before */
    size_t count;
    struct mark at[];
};

struct cut {
    struct cut *next;        /* for a queue of them */
    int shard;               /* whose it is */
    struct series **changed; /* lent: they live until a later cut hands them over */
    size_t changed_count;
    struct series **removed; /* owned */
    size_t removed_count;
    unsigned char *states; /* those of `changed`, one behind the other */
    uint64_t *erased;      /* ids of series that went into others; owned */
    size_t erased_count;
    struct marks *marks; /* owned; NULL where nothing is kept on disk */
};

/* Frees the cut with what it owns. NULL is fine. */
void cut_free(struct cut *cut);

/* Frees marks, with the streams that are gone. NULL is fine. */
void marks_free(struct marks *marks);

/* Frees a removed series. */
void series_free(struct series *series);
