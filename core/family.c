/* SPDX-License-Identifier: Apache-2.0 */
#include "family.h"

#include <fnmatch.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/scoped.h"
#include "counters.h"
#include "hash.h"

void family_free(struct family *family)
{
    if (family == NULL)
        return;
    places_close(&family->places);
    free((char *)family->name);
    free(family->key);
    free(family->counters);
    free(family);
}

static void family_free_at(struct family **family)
{
    family_free(*family);
}

char *family_name(const char *name, uint32_t kind)
{
    static const char total[] = "_total";
    size_t length = strlen(name), tail = sizeof total - 1;

    if (kind == RASAD_COUNTER && length > tail && strcmp(name + length - tail, total) == 0)
        length -= tail;
    return strndup(name, length);
}

void family_set_metric(struct family *family, const struct conf_metric *metric)
{
    family->metric = metric;
    family->aggregate = &metric->aggregate;
    family->api = &metric->aggregate.plugin->api;
    family->config = metric->aggregate.config;
    family->state_size = metric->aggregate.state_size;
    family->places.most = metric->max_series;
    family->layout = 0;
}

struct family *family_new(const struct conf_metric *metric, const char *name, int shard_count)
{
    SCOPED(family_free_at) struct family *family = calloc(1, sizeof *family);
    size_t size = (size_t)shard_count * sizeof *family->counters;

    if (family == NULL)
        return NULL;
    places_open(&family->places, metric->max_series);
    family_set_metric(family, metric);
    family->since_ns = clock_wall_ns();
    family->name = family_name(name, family->api->kind);
    if (family->name == NULL ||
        posix_memalign((void **)&family->counters, _Alignof(struct family_counters), size) != 0)
        return NULL;
    memset(family->counters, 0, size);
    return TAKE(family);
}

uint32_t families_find_slot(struct families *families)
{
    uint32_t count = atomic_load_explicit(&families->count, memory_order_relaxed);

    while (families->lowest_free < count && families->at[families->lowest_free] != NULL)
        families->lowest_free++;
    return families->lowest_free;
}

void families_put(struct families *families, struct family *family, uint32_t id)
{
    family->id = id;
    families->at[id] = family;
    /* Pairs with the acquire in families_count(): a family is whole before it counts. */
    if (id == atomic_load_explicit(&families->count, memory_order_relaxed))
        atomic_store_explicit(&families->count, id + 1, memory_order_release);
}

void families_clear(struct families *families, uint32_t id)
{
    families->at[id] = NULL;
    if (id < families->lowest_free)
        families->lowest_free = id;
}

/* Makes a family of this section, for a glob's key or NULL; the lock is held, or nobody else is
 * there yet. */
static struct family *make_family(struct families *families, const struct conf_metric *metric,
                                  const char *name, const char *key, struct rasad_error *error)
{
    SCOPED(family_free_at)
    struct family *family = family_new(metric, name, families->shard_count);
    uint32_t id = families_find_slot(families);

    if (family == NULL || (key != NULL && (family->key = strdup(key)) == NULL)) {
        (void)rasad_fail_memory(error);
        return NULL;
    }
    if (id == FAMILIES_MAX) {
        (void)rasad_fail(error, "there are %d families already", FAMILIES_MAX);
        return NULL;
    }
    if (!family_index_add_name(&families->index, family->name, family, metric, error))
        return NULL;
    families_put(families, family, id);
    return TAKE(family);
}

bool families_open(struct families *families, const struct conf *conf, int shard_count,
                   struct rasad_error *error)
{
    *families = (struct families){.shard_count = shard_count};
    (void)pthread_mutex_init(&families->lock, NULL);
    families->at = calloc(FAMILIES_MAX, sizeof(struct family *));
    if (families->at == NULL || !family_index_open(&families->index, conf))
        return rasad_fail_memory(error);
    for (size_t i = 0; i < conf->metric_count; i++) {
        const struct conf_metric *metric = &conf->metrics[i];
        struct family *family;

        if (metric->is_glob)
            continue;
        family = make_family(families, metric, metric->name, NULL, error);
        if (family == NULL)
            return rasad_fail_at(error, "%s:%d", metric->file, metric->line);
        if (!family_index_add_key(&families->index, metric->key, family, error))
            return false;
    }
    return true;
}

void families_close(struct families *families)
{
    family_index_free(&families->index);
    for (uint32_t i = 0; i < atomic_load(&families->count); i++)
        family_free(families->at[i]);
    free(families->at);
    (void)pthread_mutex_destroy(&families->lock);
}

const struct conf_metric *family_glob(const struct conf *conf, const char *key)
{
    for (size_t i = 0; i < conf->metric_count; i++) {
        if (conf->metrics[i].is_glob && fnmatch(conf->metrics[i].key, key, 0) == 0)
            return &conf->metrics[i];
    }
    return NULL;
}

/* The family that a glob's key belongs to; the lock is held. */
static struct family *find_of_glob(struct families *families, const struct conf_metric *metric,
                                   const char *key, const char *legal, enum reject *reason,
                                   struct rasad_error *error)
{
    const struct family_index *index = &families->index;
    size_t section = (size_t)(metric - index->conf->metrics);
    SCOPED(free_at) char *base = family_name(legal, metric->aggregate.plugin->api.kind);
    struct family *family;

    *reason = REJECT_BAD_NAME;
    if (base == NULL) {
        (void)rasad_fail_memory(error);
        return NULL;
    }
    family = family_index_name(index, base);
    if (family != NULL && family->metric == metric)
        return family; /* of another key with the same legal name, or of a glob with a name */
    if (index->made[section] >= metric->max_families) {
        (void)rasad_fail(error, "it would be one family more than max_families = %llu of \"%s\"",
                         (unsigned long long)metric->max_families, metric->key);
        return NULL;
    }
    return make_family(families, metric, legal, metric->name == NULL ? key : NULL, error);
}

struct family *families_find_plain(const struct families *families, const char *key, size_t length,
                                   uint32_t hash)
{
    return family_index_key(&families->index, key, length, hash);
}

struct family *families_find_glob(struct families *families, const char *key, size_t length,
                                  enum reject *reason, struct rasad_error *error)
{
    const struct conf_metric *metric;
    char legal[MAX_FAMILY_NAME];
    struct family *family;

    metric = family_glob(families->index.conf, key);
    if (metric == NULL) {
        *reason = REJECT_UNKNOWN_KEY;
        (void)rasad_fail(error, "no metric takes this key (add one to the conf)");
        return NULL;
    }
    if (metric->name != NULL) {
        (void)snprintf(legal, sizeof legal, "%s", metric->name);
    } else if (2 * length + 2 > sizeof legal || !conf_legal_name(key, length, legal)) {
        *reason = REJECT_BAD_NAME;
        (void)rasad_fail(error, "no family name can be made of this key");
        return NULL;
    }
    (void)pthread_mutex_lock(&families->lock);
    family = find_of_glob(families, metric, key, legal, reason, error);
    (void)pthread_mutex_unlock(&families->lock);
    return family;
}

struct family *families_find_section(struct families *families, const struct conf_metric *metric,
                                     struct rasad_error *error)
{
    enum reject reason;
    struct family *family;

    (void)pthread_mutex_lock(&families->lock);
    family = find_of_glob(families, metric, metric->key, metric->name, &reason, error);
    (void)pthread_mutex_unlock(&families->lock);
    return family;
}

struct family *families_find_name(struct families *families, const char *name)
{
    struct family *family;

    (void)pthread_mutex_lock(&families->lock);
    family = family_index_name(&families->index, name);
    (void)pthread_mutex_unlock(&families->lock);
    return family;
}

uint64_t family_samples(const struct family *family, int shard_count)
{
    uint64_t total = 0;

    for (int i = 0; i < shard_count; i++)
        total += counter_read(&family->counters[i].samples);
    return total;
}

struct family *families_at(const struct families *families, uint32_t id)
{
    return families->at[id];
}

uint32_t families_count(const struct families *families)
{
    return atomic_load_explicit(&families->count, memory_order_acquire);
}
