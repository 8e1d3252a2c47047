/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>

#include "base/scoped.h"
#include "hash.h"
#include "store/store_inside.h"

void layout_free(struct layout *layout)
{
    if (layout == NULL)
        return;
    free(layout->bytes);
    free(layout);
}

static void layout_free_at(struct layout **layout)
{
    layout_free(*layout);
}

void layouts_free(struct layouts *layouts)
{
    for (size_t i = 0; i < layouts->count; i++)
        layout_free(layouts->at[i]);
    free(layouts->at);
    *layouts = (struct layouts){0};
}

static uint32_t hash_names(const struct record_layout *record)
{
    return hash_bytes_with(record->name, strlen(record->name),
                           hash_bytes(record->key, strlen(record->key)));
}

struct layout *layouts_add(struct layouts *layouts, uint32_t id, const struct record_layout *record)
{
    SCOPED(layout_free_at) struct layout *layout = calloc(1, sizeof *layout);
    SCOPED(text_free) struct text bytes = {0};
    struct layout **grown;
    struct rasad_error error;

    if (layout == NULL)
        return NULL;
    layout->id = id != 0 ? id : layouts->last_id + 1;
    layout->hash = hash_names(record);
    layout->is_new = id == 0;
    record_add_layout(&bytes, layout->id, record);
    /* Read back, so that the texts are those in the bytes. */
    if (bytes.failed || !record_read_layout((struct record_key){&layout->id, sizeof layout->id},
                                            bytes.at, bytes.length, &layout->record, &error))
        return NULL;
    grown = reallocarray(layouts->at, layouts->count + 1, sizeof *grown);
    if (grown == NULL)
        return NULL;
    layouts->at = grown;
    layout->bytes = TAKE(bytes.at);
    if (layout->id > layouts->last_id)
        layouts->last_id = layout->id;
    layouts->at[layouts->count++] = layout;
    return TAKE(layout);
}

struct layout *layouts_read(struct layouts *layouts, struct record_key key, const MDB_val *value,
                            struct rasad_error *error)
{
    struct record_layout record;
    struct layout *layout;
    uint32_t id;

    if (key.size != sizeof id) {
        (void)rasad_fail(error, "a layout has a key of %zu bytes", key.size);
        return NULL;
    }
    memcpy(&id, key.at, sizeof id);
    if (!record_read_layout(key, value->mv_data, value->mv_size, &record, error))
        return NULL;
    layout = layouts_add(layouts, id, &record);
    if (layout == NULL)
        (void)rasad_fail_memory(error);
    return layout;
}

static int compare_id(const void *key, const void *element)
{
    const uint32_t *id = key;
    const struct layout *const *layout = element;

    return *id == (*layout)->id ? 0 : *id < (*layout)->id ? -1 : 1;
}

struct layout *layouts_find(const struct layouts *layouts, uint32_t id)
{
    struct layout **found = NULL;

    if (layouts->count > 0)
        found = bsearch(&id, layouts->at, layouts->count, sizeof(struct layout *), compare_id);
    return found != NULL ? *found : NULL;
}

/* What the states of a family's series are by its metric. */
static struct record_layout describe(const struct family *family)
{
    const struct conf_metric *metric = family->metric;
    const struct aggregate *aggregate = family->aggregate;
    struct record_layout layout = {
        .title = metric->key,
        .key = family->key != NULL ? family->key : "",
        .name = family->name,
        .plugin = family->api->name,
        .shape = aggregate->shape != NULL ? aggregate->shape : "",
        .kind = family->api->kind,
        .state_version = family->api->state_version,
        .exact_size = (uint32_t)aggregate->exact_size,
        .is_glob = metric->is_glob,
        .label_count = (uint32_t)metric->label_count,
    };

    for (size_t i = 0; i < metric->label_count; i++)
        layout.labels[i] = metric->labels[i];
    return layout;
}

uint32_t layouts_of(struct layouts *layouts, struct family *family)
{
    const struct record_layout wanted = describe(family);
    uint32_t hash = hash_names(&wanted);
    struct layout *layout = NULL;

    for (size_t i = 0; i < layouts->count && layout == NULL; i++) {
        if (layouts->at[i]->hash == hash && record_layout_equals(&layouts->at[i]->record, &wanted))
            layout = layouts->at[i];
    }
    if (layout == NULL)
        layout = layouts_add(layouts, 0, &wanted);
    if (layout == NULL)
        return 0;
    if (layout->record.aside_ns != 0) {
        layout->record.aside_ns = 0;
        layout->is_new = true;
    }
    layout->is_empty = false; /* its family may write some */
    family->layout = layout->id;
    return layout->id;
}

void store_note_empty(struct store *store, uint32_t id)
{
    struct layout *layout = layouts_find(&store->layouts, id);

    if (layout != NULL && layout->record.aside_ns != 0)
        layout->is_empty = true;
}

/* Notes which layouts are used; false without memory. */
static bool note_used(struct layouts *layouts, struct families *families)
{
    for (size_t i = 0; i < layouts->count; i++)
        layouts->at[i]->is_used = false;
    for (uint32_t i = 0; i < families_count(families); i++) {
        struct family *family = families_at(families, i);

        if (family == NULL)
            continue;
        if (family->layout == 0 && layouts_of(layouts, family) == 0)
            return false;
        layouts_find(layouts, family->layout)->is_used = true;
    }
    return true;
}

static void put_aside(const struct store *store, struct layout *layout, int64_t steady_ns)
{
    int64_t now_ns = store_uptime(store, steady_ns);

    layout->record.aside_ns = now_ns != 0 ? now_ns : 1; /* 0 would say that it isn't */
    layout->is_new = true;
}

void store_end_layouts(struct store *store, struct families *families, int64_t steady_ns)
{
    for (uint32_t id = 0; id < families_count(families); id++) {
        const struct family *family = families_at(families, id);

        if (family != NULL && family->next == NULL && family->layout != 0)
            put_aside(store, layouts_find(&store->layouts, family->layout), steady_ns);
    }
}

bool store_sort_layouts(struct store *store, struct families *families, int64_t steady_ns)
{
    if (!note_used(&store->layouts, families))
        return false;
    for (size_t i = 0; i < store->layouts.count; i++) {
        struct layout *layout = store->layouts.at[i];

        if (layout->record.aside_ns == 0 && !layout->is_used)
            put_aside(store, layout, steady_ns);
    }
    return true;
}

bool store_each_layout(const struct store *store,
                       bool (*call)(void *context, uint32_t id, const struct record_layout *layout),
                       void *context)
{
    for (size_t i = 0; i < store->layouts.count; i++) {
        const struct layout *layout = store->layouts.at[i];

        if (!layout->is_empty && !call(context, layout->id, &layout->record))
            return false;
    }
    return true;
}
