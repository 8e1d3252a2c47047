/* SPDX-License-Identifier: Apache-2.0 */
#include "admin/tap.h"

#include <errno.h>
#include <fnmatch.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

void taps_open(struct taps *taps)
{
    *taps = (struct taps){.first = NULL};
    (void)pthread_mutex_init(&taps->lock, NULL);
}

void taps_close(struct taps *taps)
{
    (void)pthread_mutex_destroy(&taps->lock);
}

static bool lets_through(const struct tap_filter *filter, const struct verdict *verdict)
{
    if (filter->rejected && verdict->series != NULL)
        return false;
    if (filter->agent != NULL && strcmp(filter->agent, verdict->agent) != 0)
        return false;
    return filter->key == NULL ||
           (verdict->key != NULL && fnmatch(filter->key, verdict->key, 0) == 0);
}

/* There is room for it. */
static void add_line(struct tap *tap, struct verdict_writer *writer, const struct verdict *verdict,
                     int64_t wall_ns, const char *agent_label)
{
    size_t start = tap->lines.length;

    verdict_write(writer, verdict, wall_ns, agent_label, &tap->lines);
    text_add_char(&tap->lines, '\n');
    if (tap->lines.failed) { /* without memory it is skipped like others */
        tap->lines.failed = false;
        tap->lines.length = start;
        tap->skipped++;
    }
    if (start == 0)
        (void)eventfd_write(tap->bell, 1);
}

void taps_tell(struct taps *taps, struct verdict_writer *writer, const struct verdict *verdict,
               int64_t wall_ns, const char *agent_label)
{
    (void)pthread_mutex_lock(&taps->lock);
    for (struct tap *tap = taps->first; tap != NULL; tap = tap->next) {
        if (!lets_through(&tap->filter, verdict))
            continue;
        /* Lines and skips alternate: behind a skip nothing is added until all is taken. */
        if (tap->skipped > 0 || tap->lines.length >= TAP_MOST_BYTES)
            tap->skipped++;
        else
            add_line(tap, writer, verdict, wall_ns, agent_label);
    }
    (void)pthread_mutex_unlock(&taps->lock);
}

bool tap_open(struct taps *taps, struct tap *tap, const struct tap_filter *filter,
              struct rasad_error *error)
{
    *tap = (struct tap){.filter = *filter, .bell = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)};
    if (tap->bell < 0)
        return rasad_fail(error, "cannot watch: %s", strerror(errno));
    (void)pthread_mutex_lock(&taps->lock);
    tap->next = taps->first;
    taps->first = tap;
    (void)atomic_fetch_add_explicit(&taps->count, 1, memory_order_relaxed);
    (void)pthread_mutex_unlock(&taps->lock);
    return true;
}

void tap_close(struct taps *taps, struct tap *tap)
{
    struct tap **at = &taps->first;

    (void)pthread_mutex_lock(&taps->lock);
    while (*at != tap)
        at = &(*at)->next;
    *at = tap->next;
    (void)atomic_fetch_sub_explicit(&taps->count, 1, memory_order_relaxed);
    (void)pthread_mutex_unlock(&taps->lock);
    text_free(&tap->lines);
    (void)close(tap->bell);
}

void tap_take(struct taps *taps, struct tap *tap, struct text *lines, uint64_t *skipped)
{
    struct text empty = *lines;
    eventfd_t rung;

    text_clear(&empty);
    (void)pthread_mutex_lock(&taps->lock);
    *lines = tap->lines;
    tap->lines = empty;
    *skipped = tap->skipped;
    tap->skipped = 0;
    (void)eventfd_read(tap->bell, &rung);
    (void)pthread_mutex_unlock(&taps->lock);
}
