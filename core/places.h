/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * places: how many series a family may still have, over all shards and exactly. A series of an
 * agent lives in one shard, so it takes a place of its own; where agents are not told apart, one
 * series has a state in several shards, which share its place.
 * Threads: any. Only the making and removing of a series comes here, no sample does.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "table.h"

struct places {
    uint64_t most;
    _Atomic uint64_t taken;
    pthread_mutex_t lock; /* on `shared` */
    struct table shared;  /* label values that are in use by at least one shard */
};

void places_open(struct places *places, uint64_t most);
void places_close(struct places *places);

/* Takes a place; false if none is left (or, shared, if there is no memory). `labels` are NULL for a
 * series that stands in one shard only, else the bytes that tell the series of the family apart. */
bool places_take(struct places *places, const void *labels, size_t size);

/* Takes a place for a series that had one before a reload, whether one is left or not. */
void places_restore(struct places *places, const void *labels, size_t size);

/* Gives it back; with the same `labels`. */
void places_give(struct places *places, const void *labels, size_t size);

/* Places that are taken. */
uint64_t places_taken(const struct places *places);
