/* SPDX-License-Identifier: Apache-2.0 */
#include "journal.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/scoped.h"
#include "journal_inside.h"

/* A file that may be a segment. */
struct found {
    uint64_t generation, first;
};

struct found_list {
    struct found *at;
    size_t count;
};

static void found_free(struct found_list *list)
{
    free(list->at);
}

static void closedir_at(DIR *const *folder)
{
    if (*folder != NULL)
        (void)closedir(*folder);
}

static int compare(const void *a, const void *b)
{
    const struct found *one = a, *other = b;

    if (one->generation != other->generation)
        return one->generation < other->generation ? -1 : 1;
    return one->first < other->first ? -1 : one->first > other->first;
}

static bool add_found(struct found_list *list, struct found found, struct rasad_error *error)
{
    struct found *grown = reallocarray(list->at, list->count + 1, sizeof *grown);

    if (grown == NULL)
        return rasad_fail_memory(error);
    list->at = grown;
    list->at[list->count++] = found;
    return true;
}

/* All segments of the folder, in order. */
static bool list_files(int folder, struct found_list *list, struct rasad_error *error)
{
    SCOPED(close_at) int fd = openat(folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    SCOPED(closedir_at) DIR *stream = fd >= 0 ? fdopendir(fd) : NULL;
    const struct dirent *file;
    struct found found;

    if (stream == NULL)
        return rasad_fail(error, "%s", strerror(errno));
    (void)take_fd(&fd);
    errno = 0;
    while ((file = readdir(stream)) != NULL) {
        if (segment_parse_name(file->d_name, &found.generation, &found.first) &&
            !add_found(list, found, error))
            return false;
    }
    if (errno != 0)
        return rasad_fail(error, "%s", strerror(errno));
    if (list->count > 0)
        qsort(list->at, list->count, sizeof *list->at, compare);
    return true;
}

/* Damage is told once, where it is found. */
static void tell_damage(const struct journal *journal, const char *name, uint64_t missing)
{
    const struct journal_place *place = &journal->place;

    log_error(place->log, "the spool is damaged: messages are lost",
              log_text("folder", place->path), log_text("file", name),
              log_number("messages", (int64_t)missing));
}

/* A file without a head that could be made good is put aside for whoever wants to look at it. */
static void put_aside(const struct journal *journal, const char *name)
{
    const struct journal_place *place = &journal->place;
    char aside[SEGMENT_NAME_LENGTH + 16];

    (void)snprintf(aside, sizeof aside, "%s.damaged", name);
    if (renameat(place->folder, name, place->folder, aside) != 0)
        (void)unlinkat(place->folder, name, 0);
    log_error(place->log, "the spool is damaged: a file can't be read, and its messages are lost",
              log_text("folder", place->path), log_text("file", aside));
}

/* Opens one more file; `limit` is the first number of the one behind it. */
static bool add_file(struct journal *journal, struct found found, uint64_t limit,
                     struct rasad_error *error)
{
    const struct journal_place *place = &journal->place;
    const struct segment_head head = {.agent = place->agent, .server = place->server};
    struct segment *last = journal->last, *segment;
    char name[SEGMENT_NAME_LENGTH];
    uint64_t missing;

    segment_name(found.generation, found.first, name);
    switch (segment_open(place->folder, name, &head, last, &segment, error)) {
    case SEGMENT_REFUSED:
        return rasad_fail_at(error, "%s/%s", place->path, name);
    case SEGMENT_DAMAGED:
        put_aside(journal, name);
        return true;
    case SEGMENT_GOOD:
        break;
    }
    if (last != NULL && memcmp(segment->stream, last->stream, sizeof last->stream) != 0) {
        segment_free(segment);
        return rasad_fail(error,
                          "%s/%s: is of another stream than the file before it (move it away)",
                          place->path, name);
    }
    if (!segment_scan(segment, limit, &missing, error)) {
        segment_free(segment);
        return rasad_fail_at(error, "%s/%s", place->path, name);
    }
    if (last != NULL && segment->begin.next > last->end.next)
        missing += segment->begin.next - last->end.next;
    if (missing > 0)
        tell_damage(journal, name, missing);
    journal_append(journal, segment);
    return true;
}

/* What a process that was killed has written may not be on the disk yet, and doesn't count before.
 */
static bool sync_all(const struct journal *journal, struct rasad_error *error)
{
    for (const struct segment *s = journal->first; s != NULL; s = s->next) {
        if (!segment_sync(s, error))
            return rasad_fail_at(error, "%s", journal->place.path);
    }
    return fsync(journal->place.folder) == 0 ||
           rasad_fail(error, "%s: %s", journal->place.path, strerror(errno));
}

static bool cut_torn_end(struct journal *journal, struct rasad_error *error)
{
    const struct journal_place *place = &journal->place;
    struct segment *last = journal->last;
    uint64_t torn;

    if (!segment_cut_tail(last, &torn, error))
        return rasad_fail_at(error, "%s", place->path);
    if (torn > 0)
        log_warning(place->log, "the spool's end was torn: cut off what was never taken",
                    log_text("folder", place->path), log_number("bytes", (int64_t)torn));
    return true;
}

static bool begin_journal(struct journal *journal, uint64_t generation, struct rasad_error *error)
{
    const struct segment_end begin = {.next = 1};
    struct segment *segment;

    journal->generation = generation;
    if (!journal_draw_stream(journal, error) ||
        !journal_make_segment(journal, &begin, NULL, &begin, &segment, error))
        return false;
    journal_append(journal, segment);
    return true;
}

/* What a stream that was replaced has left when its end was interrupted. */
static void delete_older(const struct journal *journal, const struct found_list *list,
                         uint64_t generation)
{
    char name[SEGMENT_NAME_LENGTH];

    for (size_t i = 0; i < list->count; i++) {
        if (list->at[i].generation == generation)
            return;
        segment_name(list->at[i].generation, list->at[i].first, name);
        (void)unlinkat(journal->place.folder, name, 0);
    }
}

static bool open_files(struct journal *journal, struct rasad_error *error)
{
    SCOPED(found_free) struct found_list list = {0};
    uint64_t generation;

    if (!list_files(journal->place.folder, &list, error))
        return rasad_fail_at(error, "%s", journal->place.path);
    if (list.count == 0)
        return begin_journal(journal, 1, error);
    generation = list.at[list.count - 1].generation;
    delete_older(journal, &list, generation);
    for (size_t i = 0; i < list.count; i++) {
        uint64_t limit = i + 1 < list.count ? list.at[i + 1].first : UINT64_MAX;

        if (list.at[i].generation == generation && !add_file(journal, list.at[i], limit, error))
            return false;
    }
    if (journal->last == NULL)
        return begin_journal(journal, generation + 1, error);
    journal->generation = generation;
    memcpy(journal->stream, journal->last->stream, sizeof journal->stream);
    return cut_torn_end(journal, error) && (!journal->place.is_synced || sync_all(journal, error));
}

bool journal_open(struct journal *journal, const struct journal_place *place,
                  struct rasad_error *error)
{
    *journal = (struct journal){.place = *place};
    if (!(place->folder < 0 ? begin_journal(journal, 1, error) : open_files(journal, error)))
        return false;
    journal_unstage(journal);
    return true;
}
