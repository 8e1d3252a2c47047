/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>

#include "base/scoped.h"
#include "store/store_inside.h"

/* Series erased in one transaction. */
#define AT_ONCE 8192

/* Ids of series that are to go. */
struct doomed {
    const struct store *store;
    int64_t before_ns; /* uptime: what is aside since then */
    uint64_t ids[AT_ONCE];
    size_t count;
};

static bool is_over(const struct record_layout *layout, int64_t before_ns)
{
    return layout->aside_ns != 0 && layout->aside_ns <= before_ns;
}

static bool list_series(void *context, uint64_t id, const struct record_series *series,
                        struct rasad_error *error)
{
    struct doomed *doomed = context;
    const struct layout *layout = layouts_find(&doomed->store->layouts, series->layout);

    if (layout != NULL && is_over(&layout->record, doomed->before_ns))
        doomed->ids[doomed->count++] = id;
    return doomed->count < AT_ONCE;
}

static int erase(struct store *store, MDB_dbi table, const void *at, size_t size, MDB_txn *txn)
{
    MDB_val key = {.mv_data = (void *)(uintptr_t)at, .mv_size = size};
    int why = mdb_del(txn, table, &key, NULL);

    return why == MDB_NOTFOUND ? 0 : why;
}

/* The series, and with the last of them the layouts. */
static int erase_all(struct store *store, const struct doomed *doomed, bool is_last)
{
    MDB_txn *txn;
    int why = mdb_txn_begin(store->env, NULL, 0, &txn);

    if (why != 0)
        return why;
    for (size_t i = 0; why == 0 && i < doomed->count; i++)
        why = erase(store, store->series, &doomed->ids[i], sizeof doomed->ids[i], txn);
    for (size_t i = 0; why == 0 && is_last && i < store->layouts.count; i++) {
        const struct layout *layout = store->layouts.at[i];

        if (is_over(&layout->record, doomed->before_ns))
            why = erase(store, store->layout, &layout->id, sizeof layout->id, txn);
    }
    if (why == 0)
        return mdb_txn_commit(txn);
    mdb_txn_abort(txn);
    return why;
}

/* A round of it; `*done` when there are no more. */
static bool erase_some(struct store *store, struct doomed *doomed, bool *done,
                       struct rasad_error *error)
{
    int why;

    doomed->count = 0;
    error->text[0] = '\0';
    if (!store_each_series(store, list_series, doomed, error) && error->text[0] != '\0')
        return false;
    *done = doomed->count < AT_ONCE;
    while ((why = erase_all(store, doomed, *done)) == MDB_MAP_FULL) {
        if (!store_grow(store, error))
            return false;
    }
    return why == 0 || store_fail_write(store, why, error);
}

static void forget_layouts(struct layouts *layouts, int64_t before_ns)
{
    size_t kept = 0;

    for (size_t i = 0; i < layouts->count; i++) {
        if (is_over(&layouts->at[i]->record, before_ns))
            layout_free(layouts->at[i]);
        else
            layouts->at[kept++] = layouts->at[i];
    }
    layouts->count = kept;
}

bool store_drop_aside(struct store *store, int64_t keep_ns, int64_t steady_ns, bool *done,
                      struct rasad_error *error)
{
    SCOPED(free_at) struct doomed *doomed = NULL;
    int64_t before_ns = store_uptime(store, steady_ns) - keep_ns;
    bool any = false;

    *done = true;
    for (size_t i = 0; i < store->layouts.count; i++)
        any |= is_over(&store->layouts.at[i]->record, before_ns);
    if (store->env == NULL)
        return true;
    (void)mdb_reader_check(store->env, NULL);
    if (!any)
        return true;
    doomed = malloc(sizeof *doomed);
    if (doomed == NULL)
        return rasad_fail_memory(error);
    doomed->store = store;
    doomed->before_ns = before_ns;
    if (!erase_some(store, doomed, done, error))
        return false;
    if (*done)
        forget_layouts(&store->layouts, before_ns);
    return true;
}
