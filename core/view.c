/* SPDX-License-Identifier: Apache-2.0 */
#include "view.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "series.h"

void view_open(struct view *view)
{
    pthread_rwlockattr_t attributes;

    *view = (struct view){0};
    (void)pthread_rwlockattr_init(&attributes);
    /* Scrapes that overlap without end must not keep changes out. */
    (void)pthread_rwlockattr_setkind_np(&attributes, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
    (void)pthread_rwlock_init(&view->lock, &attributes);
    (void)pthread_rwlockattr_destroy(&attributes);
    (void)pthread_mutex_init(&view->readers_lock, NULL);
}

void view_close(struct view *view)
{
    for (size_t i = 0; i < view->family_count; i++)
        free(view->families[i].at);
    free(view->families);
    (void)pthread_mutex_destroy(&view->readers_lock);
    (void)pthread_rwlock_destroy(&view->lock);
}

static struct view_family *get_family(struct view *view, uint32_t id)
{
    struct view_family *grown;

    if (id < view->family_count)
        return &view->families[id];
    grown = reallocarray(view->families, id + 1, sizeof *grown);
    if (grown == NULL)
        return NULL;
    memset(grown + view->family_count, 0, (id + 1 - view->family_count) * sizeof *grown);
    view->families = grown;
    view->family_count = id + 1;
    return &grown[id];
}

void view_add(struct view *view, struct series *series)
{
    struct view_family *family = get_family(view, series->family->id);

    if (family == NULL)
        return;
    if (family->count == family->capacity) {
        size_t capacity = family->capacity == 0 ? 8 : family->capacity * 2;
        struct series **grown = reallocarray(family->at, capacity, sizeof(struct series *));

        if (grown == NULL)
            return;
        family->at = grown;
        family->capacity = capacity;
    }
    series->view_index = (uint32_t)family->count;
    family->at[family->count++] = series;
}

static void remove_series(struct view *view, struct series *series)
{
    struct view_family *family;

    if (series->view_index == VIEW_NOWHERE)
        return;
    family = &view->families[series->family->id];
    family->at[series->view_index] = family->at[--family->count];
    family->at[series->view_index]->view_index = series->view_index;
}

void view_drop_family(struct view *view, uint32_t id)
{
    if (id < view->family_count)
        view->families[id].count = 0;
}

void view_shut(struct view *view)
{
    if (pthread_rwlock_trywrlock(&view->lock) == 0)
        return;
    atomic_store_explicit(&view->wanted_ns, clock_steady_ns(), memory_order_relaxed);
    (void)pthread_rwlock_wrlock(&view->lock);
    atomic_store_explicit(&view->wanted_ns, 0, memory_order_relaxed);
}

int64_t view_waited_ns(const struct view *view, int64_t now_ns)
{
    int64_t wanted_ns = atomic_load_explicit(&view->wanted_ns, memory_order_relaxed);

    return wanted_ns != 0 && now_ns > wanted_ns ? now_ns - wanted_ns : 0;
}

/* Which plugin it is, its thread writes without a lock; see crash_note_hang(). */
__attribute__((no_sanitize("thread"))) void view_note_hang(struct view *view)
{
    const struct crash_place *found = NULL;

    /* Within the lock no reader's thread can end, and its place with it. */
    (void)pthread_mutex_lock(&view->readers_lock);
    for (size_t i = 0; i < VIEW_READERS; i++) {
        if (view->readers[i] != NULL && view->readers[i]->plugin != NULL)
            found = view->readers[i];
    }
    crash_note_hang(found);
    (void)pthread_mutex_unlock(&view->readers_lock);
}

/* The first place of `from` becomes `to`. */
static void note_reader(struct view *view, const struct crash_place *from,
                        const struct crash_place *to)
{
    size_t i = 0;

    (void)pthread_mutex_lock(&view->readers_lock);
    while (i < VIEW_READERS && view->readers[i] != from)
        i++;
    if (i < VIEW_READERS)
        view->readers[i] = to;
    (void)pthread_mutex_unlock(&view->readers_lock);
}

void view_take_shut(struct view *view, struct cut *cut)
{
    const unsigned char *state = cut->states;

    for (size_t i = 0; i < cut->changed_count; i++) {
        struct series *series = cut->changed[i];

        memcpy(series_published(series), state, series->family->state_size);
        state += series->family->state_size;
        if (series->view_index == VIEW_NOWHERE)
            view_add(view, series);
    }
    for (size_t i = 0; i < cut->removed_count; i++)
        remove_series(view, cut->removed[i]);
    cut_free(cut);
}

void view_take(struct view *view, struct cut *cut)
{
    view_shut(view);
    view_take_shut(view, cut);
    view_end(view);
}

void view_begin(struct view *view)
{
    (void)pthread_rwlock_rdlock(&view->lock);
    note_reader(view, NULL, &crash_place);
}

void view_end(struct view *view)
{
    note_reader(view, &crash_place, NULL); /* who has shut it isn't there */
    (void)pthread_rwlock_unlock(&view->lock);
}

struct view_family view_family(const struct view *view, uint32_t id)
{
    return id < view->family_count ? view->families[id] : (struct view_family){0};
}
