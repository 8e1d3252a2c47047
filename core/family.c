/* SPDX-License-Identifier: Apache-2.0 */
#include "family.h"

#include <fnmatch.h>
#include <stdlib.h>
#include <string.h>

#include "base/scoped.h"
#include "counters.h"
#include "hash.h"

/* A plain title and its family. */
struct key {
    struct table_item item;
    struct family *family;
};

struct bytes {
    const char *at;
    size_t length;
};

static bool key_matches(const struct table_item *item, const void *wanted)
{
    const struct bytes *bytes = wanted;
    const char *key = ((const struct key *)item)->family->metric->key;

    return strlen(key) == bytes->length && memcmp(key, bytes->at, bytes->length) == 0;
}

static bool name_matches(const struct table_item *item, const void *wanted)
{
    return strcmp(((const struct family *)item)->name, wanted) == 0;
}

static struct family *find_name(const struct families *families, const char *name)
{
    return (struct family *)table_find(&families->names, hash_bytes(name, strlen(name)),
                                       name_matches, name);
}

static void family_free(struct family *family)
{
    if (family == NULL)
        return;
    places_close(&family->places);
    free((char *)family->name);
    free(family->counters);
    free(family);
}

static void family_free_at(struct family **family)
{
    family_free(*family);
}

/* A counter's name is known without "_total", which every format puts behind it anew. */
static char *family_name(const char *name, uint32_t kind)
{
    static const char total[] = "_total";
    size_t length = strlen(name), tail = sizeof total - 1;

    if (kind == RASAD_COUNTER && length > tail && strcmp(name + length - tail, total) == 0)
        length -= tail;
    return strndup(name, length);
}

/* The names that another family's samples could have, if this one is called `name`. */
static bool name_is_free(const struct families *families, const char *name, uint32_t kind)
{
    static const char *const suffixes[] = {"_total", "_created", "_bucket", "_sum", "_count"};
    char other[2 * MAX_FAMILY_NAME];
    size_t length = strlen(name);

    if (find_name(families, name) != NULL || strncmp(name, "rasad_", 6) == 0 ||
        strncmp(name, "process_", 8) == 0)
        return false;
    for (size_t i = 0; i < sizeof suffixes / sizeof *suffixes; i++) {
        size_t tail = strlen(suffixes[i]);

        /* x_count beside x, whatever kinds they are; and x beside x_count. */
        (void)snprintf(other, sizeof other, "%s%s", name, suffixes[i]);
        if (kind != RASAD_GAUGE && find_name(families, other) != NULL)
            return false;
        if (length > tail && strcmp(name + length - tail, suffixes[i]) == 0) {
            const struct family *base;

            (void)snprintf(other, sizeof other, "%.*s", (int)(length - tail), name);
            base = find_name(families, other);
            if (base != NULL && base->api->kind != RASAD_GAUGE)
                return false;
        }
    }
    return true;
}

/* Makes a family of this section; the lock is held, or nobody else is there yet. */
static struct family *make_family(struct families *families, const struct conf_metric *metric,
                                  const char *name, struct rasad_error *error)
{
    SCOPED(family_free_at) struct family *family = calloc(1, sizeof *family);
    uint32_t id = atomic_load_explicit(&families->count, memory_order_relaxed);

    if (family != NULL)
        places_open(&family->places, metric->max_series);
    if (family == NULL || (family->name = family_name(name, metric->plugin->api.kind)) == NULL ||
        posix_memalign((void **)&family->counters, _Alignof(struct family_counters),
                       (size_t)families->shard_count * sizeof *family->counters) != 0) {
        (void)rasad_fail_memory(error);
        return NULL;
    }
    memset(family->counters, 0, (size_t)families->shard_count * sizeof *family->counters);
    if (id == FAMILIES_MAX || !name_is_free(families, family->name, metric->plugin->api.kind)) {
        (void)rasad_fail(error, "the family name \"%s\" is taken (give the metric another name)",
                         family->name);
        return NULL;
    }
    family->id = id;
    family->metric = metric;
    family->api = &metric->plugin->api;
    family->config = metric->config;
    family->state_size = (family->api->state_size(family->config) + 7) & ~(size_t)7;
    family->by_name.hash = hash_bytes(family->name, strlen(family->name));
    if (!table_add(&families->names, &family->by_name)) {
        (void)rasad_fail_memory(error);
        return NULL;
    }
    families->at[id] = family;
    /* Pairs with the acquire in families_count(): a family is whole before it counts. */
    atomic_store_explicit(&families->count, id + 1, memory_order_release);
    families->made[metric - families->conf->metrics]++;
    return TAKE(family);
}

static bool add_key(struct families *families, struct family *family, struct rasad_error *error)
{
    struct key *key = calloc(1, sizeof *key);

    if (key == NULL)
        return rasad_fail_memory(error);
    key->family = family;
    key->item.hash = hash_bytes(family->metric->key, strlen(family->metric->key));
    if (table_add(&families->keys, &key->item))
        return true;
    free(key);
    return rasad_fail_memory(error);
}

bool families_open(struct families *families, const struct conf *conf, int shard_count,
                   struct rasad_error *error)
{
    *families = (struct families){.conf = conf, .shard_count = shard_count};
    (void)pthread_mutex_init(&families->lock, NULL);
    families->at = calloc(FAMILIES_MAX, sizeof(struct family *));
    families->made = calloc(conf->metric_count + 1, sizeof *families->made);
    if (families->at == NULL || families->made == NULL)
        return rasad_fail_memory(error);
    for (size_t i = 0; i < conf->metric_count; i++) {
        const struct conf_metric *metric = &conf->metrics[i];
        struct family *family;

        if (metric->is_glob)
            continue;
        family = make_family(families, metric, metric->name, error);
        if (family == NULL || !add_key(families, family, error))
            return rasad_fail_at(error, "%s:%d", metric->file, metric->line);
    }
    return true;
}

void families_close(struct families *families)
{
    struct table_item *key;
    size_t slot = 0;

    while ((key = table_next(&families->keys, &slot)) != NULL)
        free((struct key *)key);
    table_free(&families->keys);
    for (uint32_t i = 0; i < atomic_load(&families->count); i++)
        family_free(families->at[i]);
    table_free(&families->names);
    free(families->at);
    free(families->made);
    (void)pthread_mutex_destroy(&families->lock);
}

static const struct conf_metric *find_glob(const struct conf *conf, const char *key)
{
    for (size_t i = 0; i < conf->metric_count; i++) {
        if (conf->metrics[i].is_glob && fnmatch(conf->metrics[i].key, key, 0) == 0)
            return &conf->metrics[i];
    }
    return NULL;
}

/* The family that a glob's key belongs to; the lock is held. */
static struct family *find_of_glob(struct families *families, const struct conf_metric *metric,
                                   const char *legal, enum reject *reason,
                                   struct rasad_error *error)
{
    size_t section = (size_t)(metric - families->conf->metrics);
    SCOPED(free_at) char *base = family_name(legal, metric->plugin->api.kind);
    struct family *family;

    *reason = REJECT_BAD_NAME;
    if (base == NULL) {
        (void)rasad_fail_memory(error);
        return NULL;
    }
    family = find_name(families, base);
    if (family != NULL && family->metric == metric)
        return family; /* of another key with the same legal name, or of a glob with a name */
    if (families->made[section] >= metric->max_families) {
        (void)rasad_fail(error, "it would be one family more than max_families = %llu of \"%s\"",
                         (unsigned long long)metric->max_families, metric->key);
        return NULL;
    }
    return make_family(families, metric, legal, error);
}

struct family *families_find_plain(const struct families *families, const char *key, size_t length,
                                   uint32_t hash)
{
    const struct bytes wanted = {key, length};
    const struct key *plain =
        (const struct key *)table_find(&families->keys, hash, key_matches, &wanted);

    return plain != NULL ? plain->family : NULL;
}

struct family *families_find_glob(struct families *families, const char *key, size_t length,
                                  enum reject *reason, struct rasad_error *error)
{
    const struct conf_metric *metric;
    char legal[MAX_FAMILY_NAME];
    struct family *family;

    metric = find_glob(families->conf, key);
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
    family = find_of_glob(families, metric, legal, reason, error);
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
