/* SPDX-License-Identifier: Apache-2.0 */
#include "reload/family_next.h"

#include <stdlib.h>
#include <string.h>

#include "base/scoped.h"
#include "hash.h"

/* The family of a plain section, or of a glob with a name; NULL if there is none. */
static struct family *find_of(const struct families *families, const struct conf_metric *metric)
{
    uint32_t count = families_count(families);

    for (uint32_t id = 0; metric != NULL && id < count; id++) {
        if (families->at[id] != NULL && families->at[id]->metric == metric)
            return families->at[id];
    }
    return NULL;
}

/* Adds a family that goes on, under this name. */
static bool carry(struct families_next *next, struct family *family, const struct plan_row *row,
                  const char *name, struct rasad_error *error)
{
    struct next_family *now = &next->at[next->count];
    char *own = family_name(name, family->api->kind);

    if (own == NULL)
        return rasad_fail_memory(error);
    if (!family_index_add_name(&next->index, own, family, row->to, error)) {
        free(own);
        return false;
    }
    *now = (struct next_family){
        .family = family,
        .metric = row->to,
        .name = own,
        .migrates = row->change == PLAN_MIGRATED,
        .relabels = plan_relabels(row),
        .merges = plan_merges(row),
    };
    next->moves |= now->migrates || now->relabels;
    next->count++;
    family->next = now;
    return true;
}

/* Adds a new one. */
static bool begin(const struct families *families, struct families_next *next,
                  const struct plan_row *row, struct rasad_error *error)
{
    struct next_family *now = &next->at[next->count];
    struct family *family = family_new(row->to, row->to->name, families->shard_count);

    if (family == NULL)
        return rasad_fail_memory(error);
    *now = (struct next_family){.family = family, .metric = row->to, .is_new = true};
    now->replaced = find_of(families, row->from);
    next->count++; /* from here on families_abort() frees it */
    return family_index_add_name(&next->index, family->name, family, row->to, error);
}

static bool goes_on(const struct plan_row *row)
{
    return row != NULL && (row->change == PLAN_KEPT || row->change == PLAN_MIGRATED);
}

/* The families of plain sections. */
static bool prepare_plain(const struct families *families, const struct plan *plan,
                          struct families_next *next, struct rasad_error *error)
{
    for (size_t i = 0; i < plan->count; i++) {
        const struct plan_row *row = &plan->rows[i];
        struct family *family = goes_on(row) ? find_of(families, row->from) : NULL;

        if (row->to == NULL || row->to->is_glob)
            continue;
        if (family != NULL ? !carry(next, family, row, row->to->name, error)
                           : !begin(families, next, row, error))
            return rasad_fail_at(error, "%s:%d", row->to->file, row->to->line);
        if (!family_index_add_key(&next->index, row->to->key, next->at[next->count - 1].family,
                                  error))
            return false;
    }
    return true;
}

/* Whether samples of the key that a glob made a family for still come to its section. */
static bool keeps_key(const struct families_next *next, const struct family *family,
                      const struct conf_metric *metric)
{
    const char *key = family->key;
    size_t length;

    if (key == NULL)
        return true;
    length = strlen(key);
    return family_index_key(&next->index, key, length, hash_bytes(key, length)) == NULL &&
           family_glob(next->index.conf, key) == metric;
}

/* Those that globs have made so far; where a key or a name goes elsewhere now the family ends, for
 * it would only be in the way. */
static bool prepare_globs(const struct families *families, const struct plan *plan,
                          struct families_next *next, struct rasad_error *error)
{
    uint32_t count = families_count(families);

    for (uint32_t id = 0; id < count; id++) {
        struct family *family = families->at[id];
        const struct plan_row *row;
        const char *name;

        if (family == NULL || !family->metric->is_glob)
            continue;
        row = plan_find(plan, family->metric);
        if (!goes_on(row))
            continue;
        name = row->to->name != NULL ? row->to->name : family->name;
        if (keeps_key(next, family, row->to) &&
            family_index_is_free(&next->index, name, family->api->kind) &&
            !carry(next, family, row, name, error))
            return false;
    }
    return true;
}

/* Whether families end. */
static bool any_ends(const struct families *families)
{
    for (uint32_t id = 0; id < families_count(families); id++) {
        if (families->at[id] != NULL && families->at[id]->next == NULL)
            return true;
    }
    return false;
}

bool families_prepare(struct families *families, const struct conf *conf, const struct plan *plan,
                      struct families_next *next, struct rasad_error *error)
{
    size_t most = conf->metric_count + families_count(families);

    *next = (struct families_next){.at = calloc(most + 1, sizeof *next->at)};
    if (next->at != NULL && family_index_open(&next->index, conf)) {
        if (prepare_plain(families, plan, next, error) &&
            prepare_globs(families, plan, next, error)) {
            next->moves |= any_ends(families);
            if (next->count <= FAMILIES_MAX)
                return true;
            (void)rasad_fail(error, "more than %d families", FAMILIES_MAX);
        }
    } else {
        (void)rasad_fail_memory(error);
    }
    families_abort(families, next);
    return false;
}

void families_abort(struct families *families, struct families_next *next)
{
    for (size_t i = 0; i < next->count; i++) {
        struct next_family *now = &next->at[i];

        now->family->next = NULL;
        if (now->is_new)
            family_free(now->family);
        free(now->name);
    }
    family_index_free(&next->index);
    free(next->at);
    *next = (struct families_next){0};
}

/* The counters of what begins anew go on: they are the server's own, and count from its start. */
static void take_counters(struct family *family, struct family *replaced)
{
    struct family_counters *counters = family->counters;

    family->counters = replaced->counters;
    replaced->counters = counters;
    atomic_store(&family->render_errors, atomic_load(&replaced->render_errors));
}

static void go_on(struct family *family, struct next_family *now)
{
    free((char *)family->name);
    family->name = TAKE(now->name);
    family_set_metric(family, now->metric);
}

static void end_others(struct families *families)
{
    for (uint32_t id = 0; id < families_count(families); id++) {
        struct family *family = families->at[id];

        if (family != NULL && family->next == NULL) {
            families_clear(families, id);
            family_free(family);
        }
    }
}

void families_commit(struct families *families, struct families_next *next)
{
    for (size_t i = 0; i < next->count; i++) {
        if (next->at[i].replaced != NULL)
            take_counters(next->at[i].family, next->at[i].replaced);
    }
    end_others(families);
    for (size_t i = 0; i < next->count; i++) {
        struct next_family *now = &next->at[i];

        if (now->is_new)
            families_put(families, now->family, families_find_slot(families));
        else
            go_on(now->family, now);
        now->family->next = NULL;
    }
    family_index_free(&families->index);
    families->index = next->index;
    free(next->at);
    *next = (struct families_next){0};
}
