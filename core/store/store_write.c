/* SPDX-License-Identifier: Apache-2.0 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/planted.h"
#include "base/scoped.h"
#include "series.h"
#include "store/store_inside.h"

/* One series in a transaction: what comes to stand under its id, or that nothing does. */
struct entry {
    uint64_t id;
    uint64_t order; /* among the cuts: the last of an id counts */
    const struct series *series;
    const void *state; /* NULL: it is erased */
};

struct writing {
    struct store *store;
    const struct cut *cuts;
    int64_t steady_ns;
    struct entry *entries; /* sorted by id, one each */
    size_t count;
    struct text room; /* for records */
};

static void writing_free(struct writing *writing)
{
    free(writing->entries);
    text_free(&writing->room);
}

/* ---- What is to be written ----------------------------------------------------------------- */

static size_t count_entries(const struct cut *cuts)
{
    size_t count = 0;

    for (const struct cut *cut = cuts; cut != NULL; cut = cut->next)
        count += cut->changed_count + cut->removed_count + cut->erased_count;
    return count;
}

static void add_entry(struct writing *writing, uint64_t id, const struct series *series,
                      const void *state)
{
    if (id == 0)
        return; /* it never was on disk */
    writing->entries[writing->count] =
        (struct entry){.id = id, .order = writing->count, .series = series, .state = state};
    writing->count++;
}

static void add_cut(struct writing *writing, const struct cut *cut)
{
    const unsigned char *state = cut->states;

    for (size_t i = 0; i < cut->erased_count; i++)
        add_entry(writing, cut->erased[i], NULL, NULL);
    for (size_t i = 0; i < cut->changed_count; i++) {
        add_entry(writing, cut->changed[i]->id, cut->changed[i], state);
        state += cut->changed[i]->family->state_size;
    }
    for (size_t i = 0; i < cut->removed_count; i++)
        add_entry(writing, cut->removed[i]->id, NULL, NULL);
}

static int compare_entries(const void *a, const void *b)
{
    const struct entry *one = a, *other = b;

    if (one->id != other->id)
        return one->id < other->id ? -1 : 1;
    return one->order < other->order ? -1 : 1;
}

/* Sorted, so that pages are touched once each and in their order. */
static bool list_entries(struct writing *writing, struct rasad_error *error)
{
    size_t kept = 0;

    writing->entries = malloc((count_entries(writing->cuts) + 1) * sizeof *writing->entries);
    if (writing->entries == NULL)
        return rasad_fail_memory(error);
    for (const struct cut *cut = writing->cuts; cut != NULL; cut = cut->next)
        add_cut(writing, cut);
    if (writing->count > 1)
        qsort(writing->entries, writing->count, sizeof *writing->entries, compare_entries);
    for (size_t i = 0; i < writing->count; i++) {
        if (i + 1 == writing->count || writing->entries[i].id != writing->entries[i + 1].id)
            writing->entries[kept++] = writing->entries[i];
    }
    writing->count = kept;
    return true;
}

/* Every series' family has a layout. */
static bool make_layouts(struct writing *writing, struct rasad_error *error)
{
    for (size_t i = 0; i < writing->count; i++) {
        const struct series *series = writing->entries[i].series;

        if (series != NULL && series->family->layout == 0 &&
            layouts_of(&writing->store->layouts, series->family) == 0)
            return rasad_fail_memory(error);
    }
    return true;
}

/* ---- The transaction: 0, or what is wrong -------------------------------------------------- */

static struct record_series describe(const struct store *store, const struct entry *entry)
{
    const struct series *series = entry->series;
    const struct agent *agent = series->agent;
    struct record_series record = {
        .layout = series->family->layout,
        .flags = series->is_overflow ? RECORD_OVERFLOW : 0,
        .created_ns = series->created_ns,
        .updated_ns =
            store_uptime(store, atomic_load_explicit(&series->updated_ns, memory_order_relaxed)),
        .labels_size = series->labels_size,
        .labels = series_labels(series),
        .state_size = (uint32_t)series->family->aggregate->exact_size,
        .state = entry->state,
    };

    if (agent == NULL)
        return record;
    record.flags |= RECORD_AGENT;
    if (atomic_load_explicit(&agent->named, memory_order_relaxed))
        record.flags |= RECORD_NAMED;
    record.agent = agent->name;
    record.agent_length = agent->length;
    return record;
}

static int put_series(const struct writing *writing, MDB_cursor *cursor, const struct entry *entry)
{
    uint64_t id = entry->id;
    MDB_val key = {.mv_data = &id, .mv_size = sizeof id}, value;
    struct record_series record;
    int why;

    if (entry->state == NULL) {
        why = mdb_cursor_get(cursor, &key, &value, MDB_SET);
        if (why == 0)
            why = mdb_cursor_del(cursor, 0);
        return why == MDB_NOTFOUND ? 0 : why;
    }
    record = describe(writing->store, entry);
    value = (MDB_val){.mv_size = record_series_size(&record)};
    why = mdb_cursor_put(cursor, &key, &value, MDB_RESERVE);
    if (why == 0)
        record_put_series(value.mv_data, id, &record);
    return why;
}

static int put_all_series(const struct writing *writing, MDB_txn *txn)
{
    MDB_cursor *cursor;
    int why = mdb_cursor_open(txn, writing->store->series, &cursor);

    if (why != 0)
        return why;
    for (size_t i = 0; why == 0 && i < writing->count; i++)
        why = put_series(writing, cursor, &writing->entries[i]);
    mdb_cursor_close(cursor);
    return why;
}

static int put_mark(struct writing *writing, MDB_txn *txn, const struct mark *mark)
{
    const struct store *store = writing->store;
    struct record_stream record = {
        .agent = mark->stream->agent->name,
        .agent_length = mark->stream->agent->length,
        .applied = mark->applied,
        .chain = mark->chain,
        .last_used_ns = mark->in_use ? RECORD_IN_USE : store_uptime(store, mark->last_used_ns),
        .last_seen_ns = mark->last_seen_ns,
    };
    unsigned char room[RECORD_STREAM_KEY];
    struct record_key name;
    MDB_val key, value;
    int why;

    memcpy(record.id, mark->stream->id, sizeof record.id);
    name = record_stream_key(&record, room);
    key = (MDB_val){.mv_data = (void *)(uintptr_t)name.at, .mv_size = name.size};
    if (mark->gone) {
        why = mdb_del(txn, store->stream, &key, NULL);
        return why == MDB_NOTFOUND ? 0 : why;
    }
    text_clear(&writing->room);
    record_add_stream(&writing->room, &record);
    if (writing->room.failed)
        return ENOMEM;
    value = (MDB_val){.mv_data = writing->room.at, .mv_size = writing->room.length};
    return mdb_put(txn, store->stream, &key, &value, 0);
}

static int put_all_marks(struct writing *writing, MDB_txn *txn)
{
    int why = 0;

    for (const struct cut *cut = writing->cuts; cut != NULL; cut = cut->next) {
        for (size_t i = 0; cut->marks != NULL && why == 0 && i < cut->marks->count; i++)
            why = put_mark(writing, txn, &cut->marks->at[i]);
    }
    return why;
}

static int put_layouts(struct writing *writing, MDB_txn *txn)
{
    const struct layouts *layouts = &writing->store->layouts;
    int why = 0;

    for (size_t i = 0; why == 0 && i < layouts->count; i++) {
        const struct layout *layout = layouts->at[i];
        uint32_t id = layout->id;
        MDB_val key = {.mv_data = &id, .mv_size = sizeof id}, value;

        if (!layout->is_new && !writing->store->wants_all)
            continue;
        text_clear(&writing->room);
        record_add_layout(&writing->room, id, &layout->record);
        if (writing->room.failed)
            return ENOMEM;
        value = (MDB_val){.mv_data = writing->room.at, .mv_size = writing->room.length};
        why = mdb_put(txn, writing->store->layout, &key, &value, 0);
    }
    return why;
}

static int put_commit(struct writing *writing, MDB_txn *txn)
{
    const struct record_commit commit = {
        .number = writing->store->commit.number + 1,
        .uptime_ns = store_uptime(writing->store, writing->steady_ns),
    };
    MDB_val key = {.mv_data = (void *)(uintptr_t) "commit", .mv_size = strlen("commit")};
    MDB_val value;

    text_clear(&writing->room);
    record_add_commit(&writing->room, &commit);
    if (writing->room.failed)
        return ENOMEM;
    value = (MDB_val){.mv_data = writing->room.at, .mv_size = writing->room.length};
    return mdb_put(txn, writing->store->about, &key, &value, 0);
}

static int put_states(struct writing *writing, MDB_txn *txn)
{
    int why = put_layouts(writing, txn);

    return why != 0 ? why : put_all_series(writing, txn);
}

static int put_numbers(struct writing *writing, MDB_txn *txn)
{
    int why = put_all_marks(writing, txn);

    return why != 0 ? why : put_commit(writing, txn);
}

static int put_all(struct writing *writing, MDB_txn *txn)
{
    int why = put_states(writing, txn);

    return why != 0 ? why : put_numbers(writing, txn);
}

static int transact(struct writing *writing, int (*put)(struct writing *writing, MDB_txn *txn))
{
    MDB_txn *txn;
    int why = mdb_txn_begin(writing->store->env, NULL, 0, &txn);

    if (why != 0)
        return why;
    why = put(writing, txn);
    if (why == 0)
        return mdb_txn_commit(txn);
    mdb_txn_abort(txn);
    return why;
}

static int write_once(struct writing *writing)
{
    int why;

    if (!planted_bug("marks-in-second-transaction"))
        return transact(writing, put_all);
    why = transact(writing, put_states);
    return why != 0 ? why : transact(writing, put_numbers);
}

/* ---- The whole ----------------------------------------------------------------------------- */

/* After a distrust: the file is looked through and opened anew. */
static bool trust_again(struct store *store, struct rasad_error *error)
{
    return store->env != NULL ||
           (store_check(store->folder, (struct store_progress){.tell = NULL}, error) &&
            store_open_env(store, error));
}

bool store_write(struct store *store, const struct cut *cuts, bool hold_all, int64_t steady_ns,
                 struct rasad_error *error)
{
    SCOPED(writing_free)
    struct writing writing = {.store = store, .cuts = cuts, .steady_ns = steady_ns};
    int why;

    assert(hold_all || !store->wants_all);
    if (!trust_again(store, error) || !list_entries(&writing, error) ||
        !make_layouts(&writing, error))
        return false;
    while ((why = write_once(&writing)) == MDB_MAP_FULL) {
        if (!store_grow(store, error))
            return false;
    }
    if (why != 0)
        return store_fail_write(store, why, error);
    for (size_t i = 0; i < store->layouts.count; i++)
        store->layouts.at[i]->is_new = false;
    store->wants_all = false;
    store->commit.number++;
    store->commit.uptime_ns = store_uptime(store, steady_ns);
    return true;
}
