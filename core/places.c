/* SPDX-License-Identifier: Apache-2.0 */
#include "places.h"

#include <stdlib.h>
#include <string.h>

#include "hash.h"

/* A place that shards share. */
struct place {
    struct table_item item;
    uint32_t users;
    size_t size;
    unsigned char labels[];
};

struct labels {
    const void *at;
    size_t size;
};

void places_open(struct places *places, uint64_t most)
{
    *places = (struct places){.most = most};
    (void)pthread_mutex_init(&places->lock, NULL);
}

void places_close(struct places *places)
{
    struct table_item *item;
    size_t slot = 0;

    while ((item = table_next(&places->shared, &slot)) != NULL)
        free(item);
    table_free(&places->shared);
    (void)pthread_mutex_destroy(&places->lock);
}

static bool take_one(struct places *places)
{
    if (atomic_fetch_add_explicit(&places->taken, 1, memory_order_relaxed) < places->most)
        return true;
    (void)atomic_fetch_sub_explicit(&places->taken, 1, memory_order_relaxed);
    return false;
}

static void give_one(struct places *places)
{
    (void)atomic_fetch_sub_explicit(&places->taken, 1, memory_order_relaxed);
}

static bool place_matches(const struct table_item *item, const void *wanted)
{
    const struct place *place = (const struct place *)item;
    const struct labels *labels = wanted;

    return place->size == labels->size && memcmp(place->labels, labels->at, labels->size) == 0;
}

static struct place *find_place(const struct places *places, const void *labels, size_t size)
{
    const struct labels wanted = {labels, size};

    return (struct place *)table_find(&places->shared, hash_bytes(labels, size), place_matches,
                                      &wanted);
}

static bool add_place(struct places *places, const void *labels, size_t size)
{
    struct place *place = malloc(sizeof *place + size);

    if (place == NULL)
        return false;
    *place = (struct place){.item.hash = hash_bytes(labels, size), .users = 1, .size = size};
    memcpy(place->labels, labels, size);
    if (table_add(&places->shared, &place->item))
        return true;
    free(place);
    return false;
}

static bool take_shared(struct places *places, const void *labels, size_t size)
{
    struct place *place = find_place(places, labels, size);

    if (place != NULL) {
        place->users++;
        return true;
    }
    if (!take_one(places))
        return false;
    if (add_place(places, labels, size))
        return true;
    give_one(places);
    return false;
}

bool places_take(struct places *places, const void *labels, size_t size)
{
    bool taken;

    if (labels == NULL)
        return take_one(places);
    (void)pthread_mutex_lock(&places->lock);
    taken = take_shared(places, labels, size);
    (void)pthread_mutex_unlock(&places->lock);
    return taken;
}

void places_restore(struct places *places, const void *labels, size_t size)
{
    struct place *place;

    if (labels == NULL) {
        (void)atomic_fetch_add_explicit(&places->taken, 1, memory_order_relaxed);
        return;
    }
    (void)pthread_mutex_lock(&places->lock);
    place = find_place(places, labels, size);
    if (place != NULL) {
        place->users++;
    } else {
        (void)atomic_fetch_add_explicit(&places->taken, 1, memory_order_relaxed);
        /* Without memory the place stays taken for good: a series too few is better than one
         * lost. */
        (void)add_place(places, labels, size);
    }
    (void)pthread_mutex_unlock(&places->lock);
}

void places_give(struct places *places, const void *labels, size_t size)
{
    struct place *place;

    if (labels == NULL) {
        give_one(places);
        return;
    }
    (void)pthread_mutex_lock(&places->lock);
    place = find_place(places, labels, size);
    if (place != NULL && --place->users == 0) {
        table_remove(&places->shared, &place->item);
        free(place);
        give_one(places);
    }
    (void)pthread_mutex_unlock(&places->lock);
}

uint64_t places_taken(const struct places *places)
{
    return atomic_load_explicit(&places->taken, memory_order_relaxed);
}
