/* SPDX-License-Identifier: Apache-2.0 */
#include "reload/transition.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/scoped.h"
#include "crash.h"

void transition_free(struct transition *transition)
{
    for (size_t i = 0; i < transition->count; i++) {
        if (transition->at[i].left)
            series_free(transition->at[i].old);
    }
    free(transition->at);
    free(transition->erased);
    *transition = (struct transition){0};
}

void transition_abort(struct transition *transition)
{
    for (size_t i = 0; i < transition->count; i++) {
        if (transition->at[i].new != NULL)
            series_free(transition->at[i].new);
    }
    transition_free(transition);
}

static bool add(struct transition *transition, struct series *old, struct series *new)
{
    if (transition->count == transition->capacity) {
        size_t capacity = transition->capacity == 0 ? 64 : transition->capacity * 2;
        struct moved_series *grown = reallocarray(transition->at, capacity, sizeof *grown);

        if (grown == NULL)
            return false;
        transition->at = grown;
        transition->capacity = capacity;
    }
    transition->at[transition->count++] = (struct moved_series){.old = old, .new = new};
    return true;
}

/* ---- Labels -------------------------------------------------------------------------------- */

/* The value that a series has of a label of the next conf; "" if it has none. */
static const char *find_value(const struct series *series, const char *label, size_t *length)
{
    const struct conf_metric *metric = series->family->metric;

    for (size_t i = 0; i < metric->label_count; i++) {
        if (strcmp(metric->labels[i], label) == 0)
            return series_label(series, i, length);
    }
    *length = 0;
    return "";
}

/* Puts the series' labels under the next conf into `room`; returns their size. */
static uint32_t write_labels(const struct series *series, unsigned char *room)
{
    const struct conf_metric *metric = series->family->next->metric;
    unsigned char *at = room;
    bool any = false;

    for (size_t i = 0; i < metric->label_count; i++) {
        size_t length;
        const char *value = find_value(series, metric->labels[i], &length);

        any |= length > 0;
        at = series_put_label(at, value, length);
    }
    return any ? (uint32_t)(at - room) : 0; /* none at all takes no room */
}

/* ---- One series ---------------------------------------------------------------------------- */

/* The next plugin's code is about to run on this series. */
static void enter_plugin(const struct series *series, const void *labels)
{
    const struct aggregate *aggregate = &series->family->next->metric->aggregate;

    crash_place = (struct crash_place){
        .agent = series->agent != NULL ? series->agent->name : NULL,
        .labels = labels,
        .labels_size = series->labels_size,
    };
    if (aggregate->isolate == NULL)
        crash_enter(aggregate->plugin->api.name, series->family->name);
}

static bool migrate(const struct series *old, struct series *new, struct rasad_error *error)
{
    const struct conf_metric *metric = old->family->next->metric;
    const struct aggregate *was = old->family->aggregate;
    bool fine;

    enter_plugin(old, series_labels(old));
    fine = aggregate_migrate(&metric->aggregate, was->plugin->api.state_version, old->bytes,
                             was->exact_size, new->bytes, error);
    crash_leave();
    return fine || rasad_fail_at(error, "metric \"%s\"", metric->key);
}

/* The series as it will be, its state migrated if need be; NULL with the error. */
static struct series *make_anew(const struct series *old, unsigned char *room,
                                struct rasad_error *error)
{
    const struct next_family *next = old->family->next;
    const struct aggregate *aggregate = &next->metric->aggregate;
    const void *labels = series_labels(old);
    uint32_t labels_size = old->labels_size;
    struct series *new;

    if (next->relabels && !old->is_overflow) {
        labels = room;
        labels_size = write_labels(old, room);
    }
    new = series_new(old, aggregate->state_size, labels, labels_size);
    if (new == NULL) {
        (void)rasad_fail_memory(error);
        return NULL;
    }
    if (!next->migrates) {
        memcpy(new->bytes, old->bytes, aggregate->state_size);
    } else if (!migrate(old, new, error)) {
        series_free(new);
        return NULL;
    }
    /* All was cut before, so what is shown is the state itself. */
    memcpy(new->bytes + aggregate->state_size, new->bytes, aggregate->state_size);
    return new;
}

/* ---- Series that become one ---------------------------------------------------------------- */

static const unsigned char *labels_of(const struct series *new)
{
    return new->bytes + 2 * new->family->next->metric->aggregate.state_size;
}

static bool is_equal(const struct table_item *item, const void *wanted)
{
    const struct series *one = (const struct series *)item, *other = wanted;

    return one->family == other->family && one->agent == other->agent &&
           one->labels_size == other->labels_size &&
           memcmp(labels_of(one), labels_of(other), one->labels_size) == 0;
}

/* Notes that what has this id on disk ends. */
static bool add_erased(struct transition *transition, uint64_t id)
{
    uint64_t *grown = reallocarray(transition->erased, transition->erased_count + 1, sizeof *grown);

    if (grown == NULL)
        return false;
    transition->erased = grown;
    transition->erased[transition->erased_count++] = id;
    return true;
}

static bool merge_into(struct transition *transition, struct series *one, struct series *other,
                       struct rasad_error *error)
{
    const struct aggregate *aggregate = &one->family->next->metric->aggregate;
    bool fine;

    if (!add_erased(transition, other->id))
        return rasad_fail_memory(error);
    enter_plugin(one, labels_of(one));
    fine = aggregate_merge(aggregate, one->bytes, other->bytes, error);
    crash_leave();
    if (!fine)
        return rasad_fail_at(error, "metric \"%s\"", one->family->next->metric->key);
    memcpy(one->bytes + aggregate->state_size, one->bytes, aggregate->state_size);
    if (other->created_ns < one->created_ns)
        one->created_ns = other->created_ns;
    if (other->updated_ns > one->updated_ns)
        one->updated_ns = other->updated_ns;
    series_free(other);
    return true;
}

/* The new series, or NULL in `*new` if it went into one that is like it already. */
static bool unite(struct transition *transition, struct table *united, struct series **new,
                  struct rasad_error *error)
{
    struct series *first;

    (*new)->item.hash =
        series_hash((*new)->family, (*new)->agent, labels_of(*new), (*new)->labels_size);
    first = (struct series *)table_find(united, (*new)->item.hash, is_equal, *new);
    if (first == NULL)
        return table_add(united, &(*new)->item) || rasad_fail_memory(error);
    if (!merge_into(transition, first, *new, error))
        return false;
    *new = NULL;
    return true;
}

/* ---- A shard's ----------------------------------------------------------------------------- */

/* Makes one series anew if its family's next conf asks for it. */
static bool prepare_series(struct transition *transition, struct table *united, struct series *old,
                           unsigned char *room, struct rasad_error *error)
{
    const struct next_family *next = old->family->next;
    struct series *new = NULL;

    if (next != NULL && !next->migrates && !next->relabels)
        return true;
    if (next != NULL && (new = make_anew(old, room, error)) == NULL)
        return false;
    if (next != NULL && next->merges && !old->is_overflow &&
        !unite(transition, united, &new, error)) {
        series_free(new);
        return false;
    }
    if (add(transition, old, new))
        return true;
    /* One that others went into stays in `united`, which is not looked at any more. */
    if (new != NULL)
        series_free(new);
    return rasad_fail_memory(error);
}

static bool prepare_all(struct transition *transition, struct table *united,
                        struct series_store *store, struct rasad_error *error)
{
    struct table_item *item;
    size_t slot = 0;

    while ((item = table_next(&store->table, &slot)) != NULL) {
        if (!prepare_series(transition, united, (struct series *)item, store->labels, error))
            return false;
    }
    for (uint32_t i = 0; i < store->overflow_count; i++) {
        if (store->overflow[i] != NULL &&
            !prepare_series(transition, united, store->overflow[i], store->labels, error))
            return false;
    }
    return true;
}

bool transition_prepare(struct transition *transition, struct series_store *store,
                        struct rasad_error *error)
{
    struct table united = {0};
    bool fine;

    assert(store->dirty_count == 0);
    *transition = (struct transition){0};
    fine = prepare_all(transition, &united, store, error);
    table_free(&united);
    if (!fine)
        transition_abort(transition);
    return fine;
}

void transition_leave(struct transition *transition, struct series_store *store)
{
    for (size_t i = 0; i < transition->count; i++) {
        series_take_out(store, transition->at[i].old);
        transition->at[i].left = true;
    }
}

void transition_enter(struct transition *transition, struct series_store *store)
{
    for (size_t i = 0; i < transition->count; i++) {
        struct series *new = transition->at[i].new;

        if (new == NULL)
            continue;
        series_put_in(store, new);
        series_mark(store, new); /* on disk it is as it was */
    }
    assert(store->erased == NULL); /* all was cut */
    store->erased = TAKE(transition->erased);
    store->erased_count = transition->erased_count;
}
