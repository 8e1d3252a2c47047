/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * journal: a run of numbered messages, kept in segments: a stream with a server, or the inbox of
 * messages that no server was given yet. It is added to at its end, in groups that are as safe as
 * its sync level says before anybody may read them, and let go of at its beginning, by the segment.
 *
 *      ┌ 1 ─────────┐ ┌ 801 ───────┐ ┌ 1602 ──…       a segment's name is its first number
 *      └────────────┘ └────────────┘ └────────        the newest always stays: it has the numbers
 *       all acked       ▲ acked          ▲ end.next
 *
 * What happens to a journal while nobody looks is found out when it is opened: the end of its last
 * group may be torn, which is cut off; what is damaged in between is a hole, which reading tells by
 * the number of the message behind it.
 *
 * Threads: one writer. Readers in others hold a lock of the owner's, which the writer takes for
 * what changes the list and its ends, that is for journal_publish(), journal_take_first() and
 *          journal_replace(). None of these three waits for a disk.
 * Memory:  owns its segments: a descriptor and a few words each.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/log.h"
#include "base/text.h"
#include "segment.h"

/* Where a journal lies. */
struct journal_place {
    int folder;         /* owned; -1: in memory */
    char *path;         /* owned; for messages */
    const char *agent;  /* lent */
    const char *server; /* lent; "": the inbox */
    bool is_synced;     /* each group and each name is on disk before it counts */
    size_t segment_bytes;
    const struct log *log;
};

struct journal {
    struct journal_place place;
    uint64_t generation;
    unsigned char stream[SEGMENT_STREAM_BYTES];
    struct segment *first, *last; /* there is always one */
    uint64_t serial;              /* of the newest */
    uint64_t bytes;               /* of all files */

    /* The group that is under way; only the writer looks at it. */
    struct text staged;
    struct segment_end staged_end;
    uint64_t staged_count; /* messages in it */
    struct segment *fresh; /* a segment made for it, not in the list yet */
};

/* Where somebody reads. Zero reads nothing; journal_reader_free() frees it. */
struct journal_reader {
    uint64_t number; /* the next message's; 0: nowhere */
    uint64_t serial; /* of the segment */
    uint64_t at;
    struct segment_chunk chunk;
};

/* How journal_seek() has found a number. */
enum journal_found {
    JOURNAL_FOUND,   /* the chain before it is known */
    JOURNAL_IN_HOLE, /* in a hole, so the chain isn't */
    JOURNAL_GONE,    /* before the first that is kept */
    JOURNAL_BEYOND,  /* never given */
    JOURNAL_FAILED,  /* reading has failed: see the reader's chunk */
};

/*
 * Opens what lies in the place, which is the journal's from then on, also on false, or begins a new
 * journal. What was damaged is logged. False for what only people can judge: a newer format, files
 * of somebody else, a disk that fails.
 */
bool journal_open(struct journal *journal, const struct journal_place *place,
                  struct rasad_error *error);

/* Forgets what is staged, and leaves the files. */
void journal_close(struct journal *journal);

/* The oldest number that is kept, or the next one if none is. */
uint64_t journal_first(const struct journal *journal);

/* How far the journal has come. */
const struct segment_end *journal_end(const struct journal *journal);

/* ---- For the writer ---- */

/* Adds to the group under way; false without memory, with the group as it was. */
bool journal_stage_message(struct journal *journal, uint64_t origin, const char *bytes,
                           size_t length);

/* Says in the group that the next numbers, so many, will never come. */
bool journal_stage_skip(struct journal *journal, uint64_t origin, uint64_t count);

/* Notes in the group what the server has. */
bool journal_stage_ack(struct journal *journal, uint64_t acked);

/*
 * Brings the group to where it is safe, into a new segment if the last one is full or spoilt. To be
 * followed by journal_publish() on true; on false the group is still staged, to be tried again,
 * and errno says why, too.
 */
bool journal_commit(struct journal *journal, struct rasad_error *error);

/* Lets readers see the group. Under the owner's lock. */
void journal_publish(struct journal *journal);

/* Forgets the group under way. */
void journal_unstage(struct journal *journal);

/* The next group begins a new segment, so that what is there can be let go of. Takes space. */
bool journal_roll(struct journal *journal, struct rasad_error *error);

/* Takes the first segment out of the list, not the last. Under the owner's lock. */
struct segment *journal_take_first(struct journal *journal);

/* Ends a segment that was taken out, and its file. */
void journal_delete(const struct journal *journal, struct segment *segment);

/*
 * Makes a new stream, of the next generation, to take this one's place: it says first that so many
 * messages will never come, and goes on with those from `number` on. `renewed` is for
 * journal_replace().
 */
bool journal_renew(const struct journal *journal, uint64_t missing, uint64_t number,
                   struct journal *renewed, struct rasad_error *error);

/* Puts the new stream in the place of the old one. Under the owner's lock. */
void journal_replace(struct journal *journal, struct journal *renewed);

/* Ends what was replaced, and its files. */
void journal_delete_replaced(struct journal *replaced);

/* ---- For readers, under the owner's lock ---- */

/* Goes to this number, and finds the chain before it. */
enum journal_found journal_seek(const struct journal *journal, uint64_t number,
                                struct journal_reader *reader, uint32_t *chain);

/*
 * The next message or skip. A message's number is larger than reader->number was if those between
 * are lost; entry->chain is the chain before it anyhow. Lent until the reader is used again. False
 * at the end, or if reading has failed (reader->chunk.failed): then it may be tried again.
 */
bool journal_read(const struct journal *journal, struct journal_reader *reader, struct entry *entry,
                  const char **bytes);

void journal_reader_free(struct journal_reader *reader);
