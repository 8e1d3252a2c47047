/* SPDX-License-Identifier: Apache-2.0 */
#include "key_cache.h"

#include <stdlib.h>
#include <string.h>

#include "hash.h"

/* Keys in a cache at most; with the longest ones that is 16 MiB. */
#define MOST_KEYS 16384

struct entry {
    struct table_item item;
    uint32_t length;
    struct family *family;
    char key[];
};

struct key {
    const char *at;
    size_t length;
};

static bool entry_matches(const struct table_item *item, const void *wanted)
{
    const struct entry *entry = (const struct entry *)item;
    const struct key *key = wanted;

    return entry->length == key->length && memcmp(entry->key, key->at, key->length) == 0;
}

/* Without memory there is just no entry. */
static void remember(struct key_cache *cache, const struct key *key, uint32_t hash,
                     struct family *family)
{
    struct entry *entry;

    if (cache->table.count == MOST_KEYS)
        key_cache_free(cache);
    entry = malloc(sizeof *entry + key->length);
    if (entry == NULL)
        return;
    *entry = (struct entry){.item.hash = hash, .length = (uint32_t)key->length, .family = family};
    memcpy(entry->key, key->at, key->length);
    if (!table_add(&cache->table, &entry->item))
        free(entry);
}

struct family *key_cache_find(struct key_cache *cache, struct families *families, const char *key,
                              size_t length, enum reject *reason, struct rasad_error *error)
{
    const struct key wanted = {key, length};
    uint32_t hash = hash_bytes(key, length);
    struct family *family = families_find_plain(families, key, length, hash);
    const struct entry *entry;

    if (family != NULL)
        return family;
    entry = (const struct entry *)table_find(&cache->table, hash, entry_matches, &wanted);
    if (entry != NULL)
        return entry->family;
    family = families_find_glob(families, key, length, reason, error);
    if (family != NULL)
        remember(cache, &wanted, hash, family);
    return family;
}

void key_cache_free(struct key_cache *cache)
{
    struct table_item *item;
    size_t slot = 0;

    while ((item = table_next(&cache->table, &slot)) != NULL)
        free(item);
    table_free(&cache->table);
}
