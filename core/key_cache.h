/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * key_cache: what families_find() said of keys that globs take, so that a sample of such a key
 * needs no lock and no pattern matching. Refusals are not remembered.
 * Threads: a cache belongs to its shard. Memory: bounded; when it is full it begins anew.
 */
#include "family.h"
#include "table.h"

struct key_cache {
    struct table table;
};

/* As families_find(). */
struct family *key_cache_find(struct key_cache *cache, struct families *families, const char *key,
                              size_t length, enum reject *reason, struct rasad_error *error);

void key_cache_free(struct key_cache *cache);
