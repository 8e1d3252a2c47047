/* SPDX-License-Identifier: Apache-2.0 */
#include "reload/rehearsal.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/scoped.h"
#include "isolate/isolate.h"
#include "series.h"

/* How long one migrate() may take. */
#define PATIENCE_NS (5 * NS_PER_S)

/* Copies of states of one size. */
struct copies {
    unsigned char *at; /* owned */
    size_t size;
    size_t count;
    size_t most;
};

static void copies_free(struct copies *copies)
{
    free(copies->at);
}

/* Adds those of a family; the view is begun. */
static void copy_family(const struct view *view, uint32_t id, struct copies *copies)
{
    struct view_family family = view_family(view, id);

    for (size_t i = 0; i < family.count && copies->count < copies->most; i++)
        memcpy(copies->at + copies->count++ * copies->size, series_published(family.at[i]),
               copies->size);
}

/* States of all families of a section. */
static bool copy_states(const struct conf_metric *metric, struct view *view,
                        const struct families *families, struct copies *copies)
{
    size_t most = REHEARSAL_BYTES / metric->aggregate.state_size;

    *copies = (struct copies){.size = metric->aggregate.state_size};
    copies->most = most < 1 ? 1 : most < REHEARSAL_STATES ? most : REHEARSAL_STATES;
    copies->at = malloc(copies->most * copies->size);
    if (copies->at == NULL)
        return false;
    view_begin(view);
    for (uint32_t id = 0; id < families_count(families); id++) {
        const struct family *family = families_at(families, id);

        if (family != NULL && family->metric == metric)
            copy_family(view, id, copies);
    }
    view_end(view);
    return true;
}

static bool migrate_all(const struct aggregate *to, const struct aggregate *from,
                        const struct copies *copies, struct rasad_error *error)
{
    SCOPED(free_at) void *into = malloc(to->state_size);

    if (into == NULL)
        return rasad_fail_memory(error);
    for (size_t i = 0; i < copies->count; i++) {
        if (!aggregate_migrate(to, from->plugin->api.state_version, copies->at + i * copies->size,
                               from->exact_size, into, error))
            return false;
    }
    return true;
}

/* Tries one section's states with the new plugin in a worker. */
static bool try_section(const struct plan_row *row, const struct copies *copies,
                        const struct log *log, struct rasad_error *error)
{
    const struct aggregate *to = &row->to->aggregate;
    const struct isolate_house house = {.log = log};
    struct aggregate tried = {.plugin = to->plugin, .section = to->section};
    bool fine = aggregate_isolate(&tried, row->metric, PATIENCE_NS, error) &&
                aggregate_begin(&tried, &house, error) &&
                migrate_all(&tried, &row->from->aggregate, copies, error);

    aggregate_close(&tried);
    return fine || rasad_fail_at(error, "metric \"%s\"", row->metric);
}

bool rehearsal_run(const struct plan *plan, struct view *view, const struct families *families,
                   const struct log *log, struct rasad_error *error)
{
    for (size_t i = 0; i < plan->count; i++) {
        const struct plan_row *row = &plan->rows[i];
        SCOPED(copies_free) struct copies copies = {0};

        if (row->change != PLAN_MIGRATED || row->to->aggregate.isolate != NULL)
            continue;
        if (!copy_states(row->from, view, families, &copies))
            return rasad_fail_memory(error);
        if (copies.count > 0 && !try_section(row, &copies, log, error))
            return false;
    }
    return true;
}
