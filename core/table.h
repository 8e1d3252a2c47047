/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * table: a hash table of things that somebody else owns, each of which begins with a struct
 * table_item (open addressing, linear probing; one pointer a slot).
 * Threads: none inside. Memory: the slots are the table's; the items are not.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct table_item {
    uint32_t hash; /* as the owner computed it; low bits matter most */
};

struct table {
    struct table_item **slots;
    size_t mask; /* slots - 1; 0 while there are none */
    size_t count;
};

/* Whether the item is the one that `key` means. */
typedef bool table_match(const struct table_item *item, const void *key);

struct table_item *table_find(const struct table *table, uint32_t hash, table_match *match,
                              const void *key);

/* Makes room for so many items in all, so that adding them moves none; false if there is no memory,
 * and then it grows as they come. */
bool table_reserve(struct table *table, size_t count);

/* Adds an item that is not in it yet; false if there is no memory. */
bool table_add(struct table *table, struct table_item *item);

/* Takes out an item that is in it. */
void table_remove(struct table *table, const struct table_item *item);

/* Frees the slots. */
void table_free(struct table *table);

/*
 * The next item at or behind `*slot`, which then stands behind it; NULL at the end. Start with 0.
 * If items are removed meanwhile, some may be seen twice or missed.
 */
struct table_item *table_next(const struct table *table, size_t *slot);
