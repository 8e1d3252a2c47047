/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * cut: what changed in a shard since its last cut, copied between two batches: states of series,
 * and series that are gone. The shard makes it, the view takes it in; nothing else passes between
 * those who write states and those who read them.
 * Memory: owned by whoever holds it. The removed series in it belong to it as well.
 */
#include <stddef.h>

struct series;

struct cut {
    struct cut *next;        /* for a queue of them */
    struct series **changed; /* lent: they live until a later cut hands them over */
    size_t changed_count;
    struct series **removed; /* owned */
    size_t removed_count;
    unsigned char *states; /* those of `changed`, one behind the other */
};

/* Frees the cut with the series that it owns. NULL is fine. */
void cut_free(struct cut *cut);

/* Frees a removed series. */
void series_free(struct series *series);
