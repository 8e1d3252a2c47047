/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * family: the metric families, and the way from a message's key to one of them. A plain title of
 * the conf is a family from the start; a glob's families come as their keys do.
 * When another conf takes over, the families that go on stay the same objects, so that series need
 * not be told: family_next.h works out what each will be, in a standstill (standstill.h).
 * Threads: finding and reading from any; a family itself is constant once it is found, until a
 * standstill, but for its counters, of which each shard writes its own. Readers that are no shards
 * are kept out of a standstill by the view's lock.
 * Memory: the registry owns the families and lends the conf.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "conf/conf.h"
#include "family_index.h"
#include "places.h"
#include "reject.h"
#include "table.h"

/* What a shard counts of a family; on a cache line of its own. Only that shard writes. */
struct family_counters {
    _Alignas(64) _Atomic uint64_t samples;
    _Atomic uint64_t overflow_samples;
    _Atomic uint64_t refused; /* samples of its keys */
};

struct next_family;

struct family {
    uint32_t id;      /* its place in the registry, from 0; free again when the family ends */
    const char *name; /* as exported, without "_total"; owned */
    char *key;        /* that a glob made it for; NULL: its section alone decides; owned */
    const struct conf_metric *metric;
    const struct aggregate *aggregate; /* the metric's */
    const struct rasad_plugin *api;    /* its plugin's */
    const void *config;                /* its config, for update() */
    size_t state_size;                 /* its own */
    struct places places;              /* of its series: metric->max_series */
    /* Series whose points the host refused to show. */
    _Atomic uint64_t render_errors;
    struct family_counters *counters; /* one a shard; owned */
    int64_t since_ns;                 /* wall: when it came to be */
    uint32_t layout;                  /* of its series on disk; 0: not worked out. The store's */
    const struct next_family *next;   /* what it will be; NULL: it ends. In a standstill only. */
};

/* The most families that there can be: every section's max_families is below it, too. */
#define FAMILIES_MAX 65536

struct families {
    int shard_count;
    pthread_mutex_t lock;      /* on making a family */
    struct family_index index; /* its keys are constant; the rest is under the lock */
    struct family **at;        /* FAMILIES_MAX slots; NULL where there is none */
    uint32_t lowest_free;      /* no slot below it is free */
    _Atomic uint32_t count;    /* slots that may be taken: all that are lie below */
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

/* The family of a plain section, or of a glob with a name, which is made if it isn't there; NULL,
 * with the error, if it can't be. */
struct family *families_find_section(struct families *families, const struct conf_metric *metric,
                                     struct rasad_error *error);

/* The family of this name, as exported; NULL if there is none. */
struct family *families_find_name(struct families *families, const char *name);

/* The following are for family_next. */

/* The first glob in file order that takes this key; NULL if none does. */
const struct conf_metric *family_glob(const struct conf *conf, const char *key);

/* A family of this section that is in no index yet; NULL if there is no memory. */
struct family *family_new(const struct conf_metric *metric, const char *name, int shard_count);

/* NULL is fine. */
void family_free(struct family *family);

/* What it has of its section is that of this one from now on. */
void family_set_metric(struct family *family, const struct conf_metric *metric);

/* A counter's name is known without "_total", which every format puts behind it anew. The caller
 * frees. */
char *family_name(const char *name, uint32_t kind);

/* The lowest free place; FAMILIES_MAX if there is none. */
uint32_t families_find_slot(struct families *families);

/* Puts a family into this place, and takes it out. */
void families_put(struct families *families, struct family *family, uint32_t id);
void families_clear(struct families *families, uint32_t id);

/* Samples that all shards have applied to the family. */
uint64_t family_samples(const struct family *family, int shard_count);

/* Family `id`, for readers of all, or NULL if there is none; id is below families_count(). */
struct family *families_at(const struct families *families, uint32_t id);
uint32_t families_count(const struct families *families);
