/* SPDX-License-Identifier: Apache-2.0 */
#include "series.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/scoped.h"
#include "hash.h"
#include "view.h"

unsigned char *series_put_label(unsigned char *at, const char *value, size_t length)
{
    at[0] = (unsigned char)length;
    at[1] = (unsigned char)(length >> 8);
    memcpy(at + SERIES_LABEL_HEAD, value, length);
    return at + SERIES_LABEL_HEAD + length;
}

uint32_t series_hash(const struct family *family, const struct agent *agent, const void *labels,
                     size_t labels_size)
{
    return hash_bytes_with(labels, labels_size, (uintptr_t)agent ^ (uint64_t)family->id << 48);
}

/* The identity that a sample asks for. */
struct identity {
    const struct family *family;
    const struct agent *agent;
    unsigned char *labels; /* the store's room for them */
    uint32_t labels_size;
};

const unsigned char *series_labels(const struct series *series)
{
    return series->bytes + 2 * series->family->state_size;
}

const char *series_label(const struct series *series, size_t i, size_t *length)
{
    const unsigned char *at = series_labels(series);

    *length = 0;
    if (series->labels_size == 0)
        return "";
    for (;; i--) {
        *length = at[0] | (size_t)at[1] << 8;
        if (i == 0)
            return (const char *)at + SERIES_LABEL_HEAD;
        at += SERIES_LABEL_HEAD + *length;
    }
}

void series_store_open(struct series_store *store)
{
    memset(store, 0, sizeof *store);
}

void series_free(struct series *series)
{
    agent_unref(series->agent);
    free(series);
}

void series_store_close(struct series_store *store)
{
    struct table_item *item;
    size_t slot = 0;

    for (struct series *next, *series = store->first_dirty; series != NULL; series = next) {
        next = series->next_dirty;
        if ((series->flags & SERIES_REMOVED) != 0)
            series_free(series);
    }
    while ((item = table_next(&store->table, &slot)) != NULL)
        series_free((struct series *)item);
    for (uint32_t i = 0; i < store->overflow_count; i++) {
        if (store->overflow[i] != NULL)
            series_free(store->overflow[i]);
    }
    table_free(&store->table);
    free(store->overflow);
    free(store->erased);
}

static bool series_matches(const struct table_item *item, const void *wanted)
{
    const struct series *series = (const struct series *)item;
    const struct identity *identity = wanted;

    return series->family == identity->family && series->agent == identity->agent &&
           series->labels_size == identity->labels_size &&
           memcmp(series_labels(series), identity->labels, identity->labels_size) == 0;
}

_Static_assert((int)CONF_MOST_LABELS <= (int)MESSAGE_MAX_LABELS, "add_labels() has room for all");

/* Which declared label a sample's label is; -1 if none. */
static int find_label(const struct conf_metric *metric, const char *name)
{
    for (size_t i = 0; i < metric->label_count; i++) {
        if (strcmp(metric->labels[i], name) == 0)
            return (int)i;
    }
    return -1;
}

/* A series without any label has no label bytes at all, so that it takes no room. */
static bool add_labels(struct identity *identity, const struct sample *sample,
                       struct rasad_error *error)
{
    const struct conf_metric *metric = identity->family->metric;
    const struct message_label *given[MESSAGE_MAX_LABELS] = {NULL};
    bool any = false;

    for (size_t i = 0; i < sample->label_count; i++) {
        int declared = find_label(metric, sample->labels[i].name);

        if (declared < 0)
            return rasad_fail(error, "label \"%s\" is not among the metric's labels",
                              sample->labels[i].name);
        given[declared] = &sample->labels[i];
        any |= sample->labels[i].length > 0;
    }
    for (size_t i = 0; i < metric->label_count && any; i++) {
        const struct message_label none = {.value = "", .length = 0};
        const struct message_label *label = given[i] != NULL ? given[i] : &none;
        unsigned char *at = identity->labels + identity->labels_size;

        identity->labels_size += (uint32_t)(series_put_label(at, label->value, label->length) - at);
    }
    return true;
}

struct series *series_new(const struct series *like, size_t state_size, const void *labels,
                          uint32_t labels_size)
{
    struct series *series = malloc(sizeof *series + 2 * state_size + labels_size);

    if (series == NULL)
        return NULL;
    *series = *like;
    if (series->agent != NULL)
        (void)agent_ref(series->agent);
    series->view_index = VIEW_NOWHERE;
    series->labels_size = labels_size;
    if (labels_size > 0)
        memcpy(series->bytes + 2 * state_size, labels, labels_size);
    return series;
}

static struct series *make_series(struct family *family, struct agent *agent, const void *labels,
                                  uint32_t labels_size, int64_t wall_ns)
{
    const struct series like = {.family = family, .agent = agent, .created_ns = wall_ns};
    struct series *series = series_new(&like, family->state_size, labels, labels_size);

    if (series == NULL)
        return NULL;
    aggregate_init(family->aggregate, series_state(series));
    aggregate_init(family->aggregate, series_published(series));
    return series;
}

/* What its place in the family goes by: an agent's series stands in one shard only. */
static const unsigned char *place_labels(const struct series *series)
{
    return series->agent != NULL ? NULL : series_labels(series);
}

static struct series **overflow_slot(struct series_store *store, uint32_t id)
{
    struct series **grown;
    uint32_t wanted = id + 1;

    if (id < store->overflow_count)
        return &store->overflow[id];
    grown = reallocarray(store->overflow, wanted, sizeof(struct series *));
    if (grown == NULL)
        return NULL;
    for (uint32_t i = store->overflow_count; i < wanted; i++)
        grown[i] = NULL;
    store->overflow = grown;
    store->overflow_count = wanted;
    return &grown[id];
}

/* The series of all that is beyond max_series; NULL if there is no memory. */
static struct series *get_overflow(struct series_store *store, struct family *family,
                                   int64_t wall_ns)
{
    struct series **slot = overflow_slot(store, family->id);

    if (slot == NULL)
        return NULL;
    if (*slot == NULL) {
        *slot = make_series(family, NULL, NULL, 0, wall_ns);
        if (*slot == NULL)
            return NULL;
        (*slot)->is_overflow = true;
    }
    return *slot;
}

static struct series *add_series(struct series_store *store, struct family *family,
                                 struct agent *agent, const struct identity *identity,
                                 uint32_t hash, int64_t wall_ns)
{
    struct series *series;

    /* A look at the number first: a family that is full makes no series to throw away. */
    if (agent != NULL && places_taken(&family->places) >= family->metric->max_series)
        return get_overflow(store, family, wall_ns);
    series = make_series(family, agent, identity->labels, identity->labels_size, wall_ns);
    if (series == NULL)
        return NULL;
    series->item.hash = hash;
    if (!places_take(&family->places, place_labels(series), series->labels_size)) {
        series_free(series);
        return get_overflow(store, family, wall_ns);
    }
    if (table_add(&store->table, &series->item)) {
        if (agent != NULL)
            agent->series++;
        return series;
    }
    places_give(&family->places, place_labels(series), series->labels_size);
    series_free(series);
    return NULL;
}

struct series *series_get(struct series_store *store, struct family *family, struct agent *agent,
                          const struct sample *sample, int64_t wall_ns, enum reject *reason,
                          struct rasad_error *error)
{
    struct identity identity = {.family = family, .agent = agent, .labels = store->labels};
    struct series *series;
    uint32_t hash;

    *reason = REJECT_BAD_LABEL;
    if (sample->label_count > 0 && !add_labels(&identity, sample, error))
        return NULL;
    hash = series_hash(family, agent, identity.labels, identity.labels_size);
    series = (struct series *)table_find(&store->table, hash, series_matches, &identity);
    if (series == NULL)
        series = add_series(store, family, agent, &identity, hash, wall_ns);
    if (series == NULL) {
        *reason = REJECT_BAD_VALUE;
        (void)rasad_fail_memory(error);
    }
    return series;
}

void series_mark(struct series_store *store, struct series *series)
{
    if ((series->flags & SERIES_DIRTY) != 0)
        return;
    series->flags |= SERIES_DIRTY;
    series->next_dirty = store->first_dirty;
    store->first_dirty = series;
    store->dirty_count++;
}

void series_touch(struct series_store *store, struct series *series, int64_t steady_ns)
{
    atomic_store_explicit(&series->updated_ns, steady_ns, memory_order_relaxed);
    series->flags |= SERIES_USED;
    series_mark(store, series);
}

void series_erase_not(struct series_store *store, uint64_t id)
{
    store->erased_count -= id != 0;
}

void series_mark_all(struct series_store *store)
{
    struct table_item *item;
    size_t slot = 0;

    while ((item = table_next(&store->table, &slot)) != NULL)
        series_mark(store, (struct series *)item);
    for (uint32_t i = 0; i < store->overflow_count; i++) {
        if (store->overflow[i] != NULL)
            series_mark(store, store->overflow[i]);
    }
}

bool series_erase(struct series_store *store, uint64_t id)
{
    uint64_t *grown;

    if (id == 0)
        return true;
    grown = reallocarray(store->erased, store->erased_count + 1, sizeof *grown);
    if (grown == NULL)
        return false;
    store->erased = grown;
    store->erased[store->erased_count++] = id;
    return true;
}

/* Out of the table, and its place is free. */
static void take_out(struct series_store *store, struct series *series)
{
    table_remove(&store->table, &series->item);
    if (series->agent != NULL)
        series->agent->series--;
    places_give(&series->family->places, place_labels(series), series->labels_size);
}

/* The one that is there, or NULL. */
static struct series *find_restored(const struct series_store *store, const struct series *like,
                                    const void *labels, uint32_t labels_size)
{
    const struct identity identity = {.family = like->family,
                                      .agent = like->agent,
                                      .labels = (unsigned char *)(uintptr_t)labels,
                                      .labels_size = labels_size};
    uint32_t id = like->family->id;

    if (like->is_overflow)
        return id < store->overflow_count ? store->overflow[id] : NULL;
    return (struct series *)table_find(&store->table,
                                       series_hash(like->family, like->agent, labels, labels_size),
                                       series_matches, &identity);
}

/* Puts a series that nobody knows yet into the store. */
static bool enter(struct series_store *store, struct series *series)
{
    if (series->is_overflow) {
        struct series **slot = overflow_slot(store, series->family->id);

        if (slot != NULL)
            *slot = series;
        return slot != NULL;
    }
    series->item.hash =
        series_hash(series->family, series->agent, series_labels(series), series->labels_size);
    if (!table_add(&store->table, &series->item))
        return false;
    places_restore(&series->family->places, place_labels(series), series->labels_size);
    if (series->agent != NULL)
        series->agent->series++;
    return true;
}

struct series *series_restore(struct series_store *store, const struct series *like,
                              const void *labels, uint32_t labels_size, bool *is_new)
{
    struct series *series = find_restored(store, like, labels, labels_size);

    *is_new = series == NULL;
    if (series != NULL)
        return series;
    series = series_new(like, like->family->state_size, labels, labels_size);
    if (series == NULL)
        return NULL;
    aggregate_init(like->family->aggregate, series_state(series));
    aggregate_init(like->family->aggregate, series_published(series));
    if (enter(store, series))
        return series;
    series_free(series);
    return NULL;
}

void series_take_out(struct series_store *store, struct series *series)
{
    if (series->is_overflow)
        store->overflow[series->family->id] = NULL;
    else
        take_out(store, series);
}

void series_put_in(struct series_store *store, struct series *series)
{
    (void)enter(store, series); /* there is room, since at least as many were taken out */
}

static void remove_series(struct series_store *store, struct series *series)
{
    take_out(store, series);
    series_mark(store, series);
    series->flags |= SERIES_REMOVED;
    store->removed_count++;
}

void series_discard_if_new(struct series_store *store, struct series *series)
{
    if ((series->flags & SERIES_USED) != 0 || series->is_overflow)
        return;
    take_out(store, series);
    series_free(series);
}

static bool has_expired(const struct series *series, const struct series_limits *limits)
{
    int64_t expire_ns = series->family->metric->expire_ns;
    const struct agent *agent = series->agent;
    int64_t gone_ns;

    if (expire_ns > 0 &&
        limits->now_ns - atomic_load_explicit(&series->updated_ns, memory_order_relaxed) >=
            expire_ns)
        return true;
    if (limits->anonymous_expire_ns == 0 || agent == NULL ||
        atomic_load_explicit(&agent->named, memory_order_relaxed))
        return false;
    gone_ns = atomic_load_explicit(&agent->gone_since_ns, memory_order_relaxed);
    return gone_ns != 0 && limits->now_ns - gone_ns >= limits->anonymous_expire_ns;
}

void series_sweep(struct series_store *store, size_t most, const struct series_limits *limits)
{
    size_t end = store->sweep_slot + most;
    struct table_item *item;

    while (store->sweep_slot < end &&
           (item = table_next(&store->table, &store->sweep_slot)) != NULL) {
        /* A removal moves another series into the slot, so look at it again. */
        if (has_expired((struct series *)item, limits)) {
            remove_series(store, (struct series *)item);
            store->sweep_slot--;
        }
    }
    if (store->sweep_slot > store->table.mask)
        store->sweep_slot = 0;
}

void cut_free(struct cut *cut)
{
    if (cut == NULL)
        return;
    for (size_t i = 0; i < cut->removed_count; i++)
        series_free(cut->removed[i]);
    free(cut->changed);
    free(cut->removed);
    free(cut->states);
    free(cut->erased);
    marks_free(cut->marks);
    free(cut);
}

static size_t dirty_bytes(const struct series_store *store)
{
    size_t bytes = 0;

    for (const struct series *series = store->first_dirty; series != NULL;
         series = series->next_dirty)
        bytes += series->family->state_size;
    return bytes;
}

/* All the memory that the cut will need; NULL if it isn't there. */
static struct cut *reserve_cut(const struct series_store *store)
{
    struct cut *cut = calloc(1, sizeof *cut);

    if (cut == NULL)
        return NULL;
    cut->changed = malloc((store->dirty_count + 1) * sizeof(struct series *));
    cut->removed = malloc((store->removed_count + 1) * sizeof(struct series *));
    cut->states = malloc(dirty_bytes(store) + 1);
    if (cut->changed != NULL && cut->removed != NULL && cut->states != NULL)
        return cut;
    cut_free(cut);
    return NULL;
}

struct cut *series_cut(struct series_store *store)
{
    struct cut *cut = reserve_cut(store);
    unsigned char *state;

    if (cut == NULL)
        return NULL;
    state = cut->states;
    for (struct series *next, *series = store->first_dirty; series != NULL; series = next) {
        next = series->next_dirty;
        series->flags &= (uint8_t)~SERIES_DIRTY;
        if ((series->flags & SERIES_REMOVED) != 0) {
            cut->removed[cut->removed_count++] = series;
            continue;
        }
        if (series->id == 0 && store->ids != NULL)
            series->id = atomic_fetch_add_explicit(store->ids, 1, memory_order_relaxed) + 1;
        memcpy(state, series_state(series), series->family->state_size);
        state += series->family->state_size;
        cut->changed[cut->changed_count++] = series;
    }
    assert(cut->removed_count == store->removed_count);
    store->first_dirty = NULL;
    store->dirty_count = 0;
    store->removed_count = 0;
    cut->erased = TAKE(store->erased);
    cut->erased_count = store->erased_count;
    store->erased_count = 0;
    return cut;
}
