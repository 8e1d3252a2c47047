/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * view: the published copies of all states: what scrapes read. Shards never touch it, so a scrape,
 * however long, stops none of them; what they changed comes in through cuts.
 * Threads: any. view_take() excludes readers; readers go side by side between view_begin() and
 * view_end(), and within that every series they see stays as it is.
 * Memory: the view owns the removed series of the cuts that it took; of live ones it has pointers.
 */
#include <pthread.h>
#include <stddef.h>
#include <stdint.h>

#include "cut.h"

/* The view_index of a series that the view doesn't have. */
#define VIEW_NOWHERE UINT32_MAX

/* The series of one family, of all shards. */
struct view_family {
    struct series **at;
    size_t count;
    size_t capacity;
};

struct view {
    pthread_rwlock_t lock;
    struct view_family *families; /* by family id */
    size_t family_count;
};

void view_open(struct view *view);

/* Frees the lists; the series in them belong to the shards. */
void view_close(struct view *view);

/* Takes in a cut and frees it. Cuts of one shard must come in the order in which they were made. */
void view_take(struct view *view, struct cut *cut);

void view_begin(struct view *view);
void view_end(struct view *view);

/* The family's series, between view_begin() and view_end(). */
struct view_family view_family(const struct view *view, uint32_t id);
