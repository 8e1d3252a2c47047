/* SPDX-License-Identifier: Apache-2.0 */
#include "journal.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "base/scoped.h"
#include "journal_inside.h"

/* ---- Segments ---- */

void journal_append(struct journal *journal, struct segment *segment)
{
    if (journal->last != NULL)
        journal->last->next = segment;
    else
        journal->first = segment;
    journal->last = segment;
    journal->bytes += segment->size;
    segment->serial = ++journal->serial;
}

bool journal_draw_stream(struct journal *journal, struct rasad_error *error)
{
    if (getrandom(journal->stream, sizeof journal->stream, 0) != sizeof journal->stream)
        return rasad_fail(error, "no random bytes: %s", strerror(errno));
    return true;
}

static struct segment_head head_of(const struct journal *journal)
{
    struct segment_head head = {.generation = journal->generation,
                                .agent = journal->place.agent,
                                .server = journal->place.server};

    memcpy(head.stream, journal->stream, sizeof head.stream);
    return head;
}

bool journal_make_segment(const struct journal *journal, const struct segment_end *begin,
                          struct text *entries, const struct segment_end *end, struct segment **out,
                          struct rasad_error *error)
{
    const struct journal_place *place = &journal->place;
    struct segment_head head = head_of(journal);

    return segment_create(place->folder, &head, begin, entries, end, place->is_synced, out,
                          error) ||
           rasad_fail_at(error, "%s", place->path);
}

static void free_segments(struct journal *journal)
{
    while (journal->first != NULL) {
        struct segment *segment = journal->first;

        journal->first = segment->next;
        segment_free(segment);
    }
    journal->last = NULL;
}

void journal_close(struct journal *journal)
{
    free_segments(journal);
    segment_free(journal->fresh);
    text_free(&journal->staged);
    close_at(&journal->place.folder);
    free(journal->place.path);
    *journal = (struct journal){.place = {.folder = -1}};
}

uint64_t journal_first(const struct journal *journal)
{
    return journal->first->begin.next;
}

const struct segment_end *journal_end(const struct journal *journal)
{
    return &journal->last->end;
}

/* ---- Writing ---- */

static bool stage(struct journal *journal, const struct entry *entry, const char *bytes)
{
    entries_add(&journal->staged, entry, bytes);
    if (journal->staged.failed) {
        journal->staged.failed = false; /* nothing of this entry was added */
        return false;
    }
    segment_end_pass(&journal->staged_end, entry, bytes);
    return true;
}

bool journal_stage_message(struct journal *journal, uint64_t origin, const char *bytes,
                           size_t length)
{
    const struct entry entry = {.kind = ENTRY_MESSAGE,
                                .length = (uint32_t)length,
                                .number = journal->staged_end.next,
                                .origin = origin,
                                .chain = journal->staged_end.chain};

    assert(length <= SEGMENT_MOST_MESSAGE);
    if (!stage(journal, &entry, bytes))
        return false;
    journal->staged_count++;
    return true;
}

bool journal_stage_skip(struct journal *journal, uint64_t origin, uint64_t count)
{
    const struct entry entry = {.kind = ENTRY_SKIP,
                                .number = journal->staged_end.next + count - 1,
                                .origin = origin,
                                .chain = journal->staged_end.chain};

    assert(count > 0);
    return stage(journal, &entry, "");
}

bool journal_stage_ack(struct journal *journal, uint64_t acked)
{
    const struct entry entry = {.kind = ENTRY_ACK, .number = acked};

    return stage(journal, &entry, "");
}

void journal_unstage(struct journal *journal)
{
    text_clear(&journal->staged);
    journal->staged.failed = false;
    journal->staged_end = *journal_end(journal);
    journal->staged_count = 0;
}

bool journal_commit(struct journal *journal, struct rasad_error *error)
{
    struct segment *last = journal->last;

    assert(journal->fresh == NULL);
    if (journal->staged.length == 0)
        return true;
    if (!last->is_spoilt && last->size - last->start < journal->place.segment_bytes) {
        if (segment_write(last, &journal->staged, journal->place.is_synced, error))
            return true;
    }
    last->is_spoilt = true; /* should this fail, a file may be left that the next must replace */
    return journal_make_segment(journal, &last->end, &journal->staged, &journal->staged_end,
                                &journal->fresh, error);
}

bool journal_roll(struct journal *journal, struct rasad_error *error)
{
    assert(journal->fresh == NULL && journal->staged.length == 0);
    journal->last->is_spoilt = true; /* as above */
    return journal_make_segment(journal, journal_end(journal), NULL, journal_end(journal),
                                &journal->fresh, error);
}

/* Takes out the newest, whose file another of the same name has replaced. */
static void drop_last(struct journal *journal)
{
    struct segment *last = journal->last, **link = &journal->first;

    journal->last = NULL;
    for (; *link != last; link = &(*link)->next)
        journal->last = *link;
    *link = NULL;
    journal->bytes -= last->size;
    segment_free(last);
}

void journal_publish(struct journal *journal)
{
    struct segment *last = journal->last;

    if (journal->fresh != NULL) {
        if (last->begin.next == journal->fresh->begin.next)
            drop_last(journal);
        journal_append(journal, TAKE(journal->fresh));
    } else {
        last->size += journal->staged.length;
        last->end = journal->staged_end;
        journal->bytes += journal->staged.length;
    }
    journal_unstage(journal);
}

struct segment *journal_take_first(struct journal *journal)
{
    struct segment *segment = journal->first;

    assert(segment != journal->last);
    journal->first = segment->next;
    journal->bytes -= segment->size;
    segment->next = NULL;
    return segment;
}

void journal_delete(const struct journal *journal, struct segment *segment)
{
    char name[SEGMENT_NAME_LENGTH];

    segment_name(segment->generation, segment->begin.next, name);
    if (journal->place.folder >= 0)
        (void)unlinkat(journal->place.folder, name, 0);
    segment_free(segment);
}

/* ---- Replacing ---- */

/* Copies what the old stream has from `number` on. */
static bool stage_rest(const struct journal *journal, uint64_t number, struct journal *renewed,
                       struct rasad_error *error)
{
    const struct segment_end *end = journal_end(journal);
    struct journal_reader reader = {.number = number};
    const char *bytes;
    struct entry entry;
    uint32_t chain;
    bool fine;

    fine = journal_seek(journal, number, &reader, &chain) != JOURNAL_FAILED;
    while (fine && journal_read(journal, &reader, &entry, &bytes)) {
        uint64_t lost = entry.number - number;

        if (entry.kind == ENTRY_SKIP)
            lost++;
        if (lost > 0)
            fine = journal_stage_skip(renewed, entry.origin, lost);
        if (fine && entry.kind == ENTRY_MESSAGE)
            fine = journal_stage_message(renewed, entry.origin, bytes, entry.length);
        number = reader.number;
    }
    if (reader.chunk.failed) {
        fine = rasad_fail(error, "%s: cannot be read: %s", journal->place.path,
                          strerror(reader.chunk.why));
        journal_reader_free(&reader);
        return fine;
    }
    if (fine && number < end->next) /* it can't be read any more, all up to the end */
        fine = journal_stage_skip(renewed, end->origin, end->next - number);
    journal_reader_free(&reader);
    return fine || rasad_fail_memory(error);
}

bool journal_renew(const struct journal *journal, uint64_t missing, uint64_t number,
                   struct journal *renewed, struct rasad_error *error)
{
    const struct segment_end begin = {.next = 1, .origin = journal_end(journal)->origin};
    struct segment *segment;
    bool fine;

    *renewed = (struct journal){.place = journal->place,
                                .generation = journal->generation + 1,
                                .serial = journal->serial,
                                .staged_end = begin};
    fine = journal_draw_stream(renewed, error);
    if (fine && missing > 0 && !journal_stage_skip(renewed, begin.origin, missing))
        fine = rasad_fail_memory(error);
    fine = fine && stage_rest(journal, number, renewed, error);
    fine = fine && journal_make_segment(renewed, &begin, &renewed->staged, &renewed->staged_end,
                                        &segment, error);
    text_free(&renewed->staged);
    if (fine)
        journal_append(renewed, segment);
    return fine;
}

void journal_replace(struct journal *journal, struct journal *renewed)
{
    struct journal old = *journal;

    assert(old.fresh == NULL && old.staged.length == 0);
    journal->generation = renewed->generation;
    memcpy(journal->stream, renewed->stream, sizeof journal->stream);
    journal->first = renewed->first;
    journal->last = renewed->last;
    journal->bytes = renewed->bytes;
    journal->serial = renewed->serial;
    journal_unstage(journal);
    renewed->first = old.first;
    renewed->last = old.last;
}

void journal_delete_replaced(struct journal *replaced)
{
    while (replaced->first != NULL) {
        struct segment *segment = replaced->first;

        replaced->first = segment->next;
        journal_delete(replaced, segment);
    }
}

/* ---- Reading ---- */

/* Within one segment, which begins at or before the number. */
static enum journal_found seek_in(const struct segment *segment, uint64_t number,
                                  struct journal_reader *reader, uint32_t *chain)
{
    struct segment_end run = segment->begin;
    uint64_t before = segment->start;
    const char *bytes;
    struct entry entry;

    reader->number = number;
    reader->serial = segment->serial;
    reader->at = before;
    for (; run.next < number; before = reader->at) {
        if (!segment_next(segment, &reader->at, run.next, &reader->chunk, &entry, &bytes))
            return reader->chunk.failed ? JOURNAL_FAILED
                                        : JOURNAL_IN_HOLE; /* in front of the next segment */
        if (entry.kind != ENTRY_ACK && entry.number >= number) {
            reader->at = before;
            *chain = entry.chain;
            return entry.kind == ENTRY_MESSAGE && entry.number == number ? JOURNAL_FOUND
                                                                         : JOURNAL_IN_HOLE;
        }
        segment_end_pass(&run, &entry, bytes);
    }
    *chain = run.chain;
    return JOURNAL_FOUND;
}

enum journal_found journal_seek(const struct journal *journal, uint64_t number,
                                struct journal_reader *reader, uint32_t *chain)
{
    const struct segment *segment = journal->first;

    if (number < segment->begin.next)
        return JOURNAL_GONE;
    if (number > journal->last->end.next)
        return JOURNAL_BEYOND;
    while (segment->next != NULL && segment->next->begin.next <= number)
        segment = segment->next;
    return seek_in(segment, number, reader, chain);
}

/* The reader's segment, or the one with its number, if that is no more. */
static const struct segment *find_segment(const struct journal *journal,
                                          const struct journal_reader *reader)
{
    const struct segment *segment = journal->first;

    while (segment != NULL && segment->serial != reader->serial)
        segment = segment->next;
    if (segment != NULL)
        return segment;
    segment = journal->first;
    while (segment->next != NULL && segment->end.next <= reader->number)
        segment = segment->next;
    return segment;
}

bool journal_read(const struct journal *journal, struct journal_reader *reader, struct entry *entry,
                  const char **bytes)
{
    const struct segment *segment = find_segment(journal, reader);

    for (; segment != NULL; segment = segment->next) {
        if (reader->serial != segment->serial) {
            reader->serial = segment->serial;
            reader->at = segment->start;
            if (segment->begin.next > reader->number) {
                *entry = (struct entry){.kind = ENTRY_SKIP,
                                        .number = segment->begin.next - 1,
                                        .origin = segment->begin.origin,
                                        .chain = segment->begin.chain};
                *bytes = "";
                reader->number = segment->begin.next;
                return true;
            }
        }
        while (segment_next(segment, &reader->at, reader->number, &reader->chunk, entry, bytes)) {
            if (entry->kind == ENTRY_ACK)
                continue;
            reader->number = entry->number + 1;
            return true;
        }
        if (reader->chunk.failed)
            return false;
    }
    return false;
}

void journal_reader_free(struct journal_reader *reader)
{
    segment_chunk_free(&reader->chunk);
    *reader = (struct journal_reader){0};
}
