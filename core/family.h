/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * family: the metric families, and the way from a message's key to one of them. A plain title of
 * the conf is a family from the start; a glob's families come as their keys do.
 * Threads: finding and reading from any; a family itself is constant once it is found,
 * but for its counters, of which each shard writes its own.
 * Memory: the registry owns the families and lends the conf.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "conf/conf.h"
#include "places.h"
#include "reject.h"
#include "table.h"

/* Room for a family name made of the longest key, with its NUL. */
#define MAX_FAMILY_NAME 4096

/* What a shard counts of a family; on a cache line of its own. Only that shard writes. */
struct family_counters {
    _Alignas(64) _Atomic uint64_t samples;
    _Atomic uint64_t overflow_samples;
};

struct family {
    struct table_item by_name;
    uint32_t id;      /* the how manieth, from 0 */
    const char *name; /* as exported, without "_total"; owned */
    const struct conf_metric *metric;
    const struct rasad_plugin *api; /* the plugin's */
    const void *config;
    size_t state_size;    /* rounded up to 8 bytes */
    struct places places; /* of its series: metric->max_series */
    /* Series whose points the host refused to show. */
    _Atomic uint64_t render_errors;
    struct family_counters *counters; /* one a shard; owned */
};

/* The most families that there can be: every section's max_families is below it, too. */
#define FAMILIES_MAX 65536

struct families {
    const struct conf *conf;
    int shard_count;
    pthread_mutex_t lock; /* on making a family */
    struct table names;   /* by exported name; under the lock */
    struct table keys;    /* plain titles; constant after families_open() */
    struct family **at;   /* FAMILIES_MAX slots; those below count are constant */
    _Atomic uint32_t count;
    size_t *made; /* families of each section; under the lock */
};

/* Makes the families that the conf names. To be ended with families_close(). */
bool families_open(struct families *families, const struct conf *conf, int shard_count,
                   struct rasad_error *error);

void families_close(struct families *families);

/* The family of the plain title that is this key, whose hash_bytes() is `hash`; NULL if none is. */
struct family *families_find_plain(const struct families *families, const char *key, size_t length,
                                   uint32_t hash);

/*
 * The family that takes this key, which no plain title is, by the first glob in file order; it is
 * made if it isn't there. NULL: `*reason` and the error say why. `key` is NUL-terminated.
 */
struct family *families_find_glob(struct families *families, const char *key, size_t length,
                                  enum reject *reason, struct rasad_error *error);

/* Samples that all shards have applied to the family. */
uint64_t family_samples(const struct family *family, int shard_count);

/* Family `id`, for readers of all; id is below families_count(). */
struct family *families_at(const struct families *families, uint32_t id);
uint32_t families_count(const struct families *families);
