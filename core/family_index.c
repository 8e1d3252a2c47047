/* SPDX-License-Identifier: Apache-2.0 */
#include "family_index.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "family.h"
#include "hash.h"

/* A name or a plain title, and its family. */
struct entry {
    struct table_item item;
    struct family *family;
    size_t length;
    char text[];
};

struct bytes {
    const char *at;
    size_t length;
};

static bool entry_matches(const struct table_item *item, const void *wanted)
{
    const struct entry *entry = (const struct entry *)item;
    const struct bytes *bytes = wanted;

    return entry->length == bytes->length && memcmp(entry->text, bytes->at, bytes->length) == 0;
}

static struct family *find(const struct table *table, const char *text, size_t length,
                           uint32_t hash)
{
    const struct bytes wanted = {text, length};
    const struct entry *entry =
        (const struct entry *)table_find(table, hash, entry_matches, &wanted);

    return entry != NULL ? entry->family : NULL;
}

struct family *family_index_name(const struct family_index *index, const char *name)
{
    size_t length = strlen(name);

    return find(&index->names, name, length, hash_bytes(name, length));
}

static bool add_entry(struct table *table, const char *text, struct family *family)
{
    size_t length = strlen(text);
    struct entry *entry = malloc(sizeof *entry + length);

    if (entry == NULL)
        return false;
    *entry =
        (struct entry){.item.hash = hash_bytes(text, length), .family = family, .length = length};
    memcpy(entry->text, text, length);
    if (table_add(table, &entry->item))
        return true;
    free(entry);
    return false;
}

static void free_entries(struct table *table)
{
    struct table_item *entry;
    size_t slot = 0;

    while ((entry = table_next(table, &slot)) != NULL)
        free((struct entry *)entry);
    table_free(table);
}

void family_index_free(struct family_index *index)
{
    free_entries(&index->keys);
    free_entries(&index->names);
    free(index->made);
    *index = (struct family_index){0};
}

bool family_index_open(struct family_index *index, const struct conf *conf)
{
    *index = (struct family_index){.conf = conf};
    index->made = calloc(conf->metric_count + 1, sizeof *index->made);
    return index->made != NULL;
}

bool family_index_is_free(const struct family_index *index, const char *name, uint32_t kind)
{
    static const char *const suffixes[] = {"_total", "_created", "_bucket", "_sum", "_count"};
    char other[2 * MAX_FAMILY_NAME];
    size_t length = strlen(name);

    if (family_index_name(index, name) != NULL || strncmp(name, "rasad_", 6) == 0 ||
        strncmp(name, "process_", 8) == 0)
        return false;
    for (size_t i = 0; i < sizeof suffixes / sizeof *suffixes; i++) {
        size_t tail = strlen(suffixes[i]);

        /* x_count beside x, whatever kinds they are; and x beside x_count. */
        (void)snprintf(other, sizeof other, "%s%s", name, suffixes[i]);
        if (kind != RASAD_GAUGE && family_index_name(index, other) != NULL)
            return false;
        if (length > tail && strcmp(name + length - tail, suffixes[i]) == 0) {
            const struct family *base;

            (void)snprintf(other, sizeof other, "%.*s", (int)(length - tail), name);
            base = family_index_name(index, other);
            if (base != NULL && base->api->kind != RASAD_GAUGE)
                return false;
        }
    }
    return true;
}

bool family_index_add_name(struct family_index *index, const char *name, struct family *family,
                           const struct conf_metric *metric, struct rasad_error *error)
{
    if (!family_index_is_free(index, name, family->api->kind))
        return rasad_fail(error, "the family name \"%s\" is taken (give the metric another name)",
                          name);
    if (!add_entry(&index->names, name, family))
        return rasad_fail_memory(error);
    index->made[metric - index->conf->metrics]++;
    return true;
}

struct family *family_index_key(const struct family_index *index, const char *key, size_t length,
                                uint32_t hash)
{
    return find(&index->keys, key, length, hash);
}

bool family_index_add_key(struct family_index *index, const char *key, struct family *family,
                          struct rasad_error *error)
{
    return add_entry(&index->keys, key, family) || rasad_fail_memory(error);
}
