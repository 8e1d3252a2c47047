/* SPDX-License-Identifier: Apache-2.0 */
#include "table.h"

#include <assert.h>
#include <stdlib.h>

struct table_item *table_find(const struct table *table, uint32_t hash, table_match *match,
                              const void *key)
{
    struct table_item *item;

    if (table->slots == NULL)
        return NULL;
    for (size_t i = hash & table->mask; (item = table->slots[i]) != NULL;
         i = (i + 1) & table->mask) {
        if (item->hash == hash && match(item, key))
            return item;
    }
    return NULL;
}

static void put(struct table_item **slots, size_t mask, struct table_item *item)
{
    size_t i = item->hash & mask;

    while (slots[i] != NULL)
        i = (i + 1) & mask;
    slots[i] = item;
}

static bool grow(struct table *table, size_t size)
{
    size_t old = table->slots == NULL ? 0 : table->mask + 1;
    struct table_item **slots = calloc(size, sizeof *slots);

    if (slots == NULL)
        return false;
    for (size_t i = 0; i < old; i++) {
        if (table->slots[i] != NULL)
            put(slots, size - 1, table->slots[i]);
    }
    free(table->slots);
    table->slots = slots;
    table->mask = size - 1;
    return true;
}

/* At most three slots in four are taken, so that a search ends soon. */
bool table_reserve(struct table *table, size_t count)
{
    size_t old = table->slots == NULL ? 0 : table->mask + 1;
    size_t size = old == 0 ? 16 : old;

    while (count * 4 > size * 3)
        size *= 2;
    return size == old || grow(table, size);
}

bool table_add(struct table *table, struct table_item *item)
{
    if (!table_reserve(table, table->count + 1))
        return false;
    put(table->slots, table->mask, item);
    table->count++;
    return true;
}

/* Whatever stands behind the gap and was pushed over it moves back, so no search ends too soon. */
void table_remove(struct table *table, const struct table_item *item)
{
    size_t gap = item->hash & table->mask;

    while (table->slots[gap] != item) {
        assert(table->slots[gap] != NULL);
        gap = (gap + 1) & table->mask;
    }
    for (size_t i = (gap + 1) & table->mask; table->slots[i] != NULL; i = (i + 1) & table->mask) {
        size_t home = table->slots[i]->hash & table->mask;

        if (((i - home) & table->mask) >= ((i - gap) & table->mask)) {
            table->slots[gap] = table->slots[i];
            gap = i;
        }
    }
    table->slots[gap] = NULL;
    table->count--;
}

void table_free(struct table *table)
{
    free(table->slots);
    *table = (struct table){0};
}

struct table_item *table_next(const struct table *table, size_t *slot)
{
    while (table->slots != NULL && *slot <= table->mask) {
        struct table_item *item = table->slots[(*slot)++];

        if (item != NULL)
            return item;
    }
    return NULL;
}
