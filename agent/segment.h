/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * segment: one file of a journal: a head that says what the file is and what came before it, then
 * entries that are only ever added at the end. All numbers are little-endian.
 *
 *      head   magic 8, format 4, size 4, generation 8, first 8, origin 8, acked 8, chain 4,
 *             stream 16, agent's length 2, server's length 2, agent, server, CRC 4 of all that
 *      entry  length 4, CRC 4, number 8, origin 8, kind 1, group 3 (the highest bit says: first in
 * it), chain 4, then `length` bytes
 *
 * An entry's CRC-32C goes over the stream's id and all of the entry but the CRC itself, so neither
 * bytes of another file nor a message that looks like an entry is ever taken for one. What follows
 * from the entries is nowhere else: there is no index that could disagree.
 *
 * A group is what is written, and synced, at once; groups count from 1 in each segment. Of the last
 * group in a journal any part may be missing after a power cut, so it is cut off from its first bad
 * entry on. A bad entry of an earlier group is damage: that group was safe once.
 *
 * A segment of a spool in memory is the same in a file without a name.
 *
 * Threads: none inside, see journal.h. A reader never looks beyond `size`, so a writer may write
 *          behind it, and moves `size` when the bytes are safe.
 * Memory:  owns its descriptor; segment_free() gives it back, and leaves the file alone.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/text.h"
#include "entry.h"

#define SEGMENT_FORMAT 1

/* Room for a file's name, with its NUL: the generation and the first number. */
#define SEGMENT_NAME_LENGTH 48

/* What a head says beside how far the run was when the segment began. */
struct segment_head {
    uint64_t generation; /* of the stream: a later one takes the place of an earlier */
    unsigned char stream[SEGMENT_STREAM_BYTES];
    const char *agent, *server; /* whose it is; lent */
};

struct segment {
    struct segment *next; /* in its journal */
    uint64_t serial;      /* no other segment of the journal ever had it */
    int fd;
    uint64_t generation;
    unsigned char stream[SEGMENT_STREAM_BYTES];
    struct segment_end begin, end;
    int64_t changed_ns;   /* wall time, when it was opened: the last change before */
    uint64_t start, size; /* the bytes of the entries: [start, size) */
    uint32_t group;       /* the last that was written */
    bool is_spoilt;       /* nothing is written to it any more, as a write has failed */
    /* Of a segment that is acknowledged to its end. */
    uint64_t
        acked_next;   /* where that was, as `end.next`: if that has moved on, it isn't any more */
    int64_t acked_ns; /* since when */
    uint64_t acked_mark; /* how many acks had come by then */
};

/* Bytes of a file that were read ahead. Zero is empty; segment_chunk_free() frees it. */
struct segment_chunk {
    struct text bytes;
    uint64_t at;     /* where they begin */
    uint64_t serial; /* in this segment */
    bool failed;     /* the last reading, which says nothing about what is in the file */
    int why;         /* it has failed: an errno, ENOMEM without memory */
};

/* Room for the names in a head, with their NULs. */
#define SEGMENT_AGENT_LENGTH 256
#define SEGMENT_SERVER_LENGTH 512

/* What segment_open() found. */
enum segment_verdict {
    SEGMENT_GOOD,
    SEGMENT_DAMAGED, /* no head that could be ours */
    SEGMENT_REFUSED, /* see the error: newer, somebody else's, or unreadable */
};

/* The name of the file that begins with this number. */
void segment_name(uint64_t generation, uint64_t first, char name[SEGMENT_NAME_LENGTH]);

/* Whether it is such a name; if so, of what. */
bool segment_parse_name(const char *name, uint64_t *generation, uint64_t *first);

/*
 * Makes a segment that goes on from `begin` and holds these entries already, with which it comes to
 * `end`: as a whole or not at all, whatever happens. The file is synced if `is_synced`. A folder of
 * -1 means memory. On false errno says why, too.
 */
bool segment_create(int folder, const struct segment_head *head, const struct segment_end *begin,
                    struct text *entries, const struct segment_end *end, bool is_synced,
                    struct segment **out, struct rasad_error *error);

/*
 * Opens the file and reads its head, which must agree with `head`'s agent and server. `before` is
 * the segment in front of it, or NULL; from it a damaged head is made good. The entries are not
 * looked at yet: see segment_scan().
 */
enum segment_verdict segment_open(int folder, const char *name, const struct segment_head *head,
                                  const struct segment *before, struct segment **out,
                                  struct rasad_error *error);

/* The names in the file's head: SEGMENT_DAMAGED if it has none. */
enum segment_verdict segment_peek(int folder, const char *name, char agent[SEGMENT_AGENT_LENGTH],
                                  char server[SEGMENT_SERVER_LENGTH], struct rasad_error *error);

/*
 * Goes through the entries, up to number `limit` (which the next segment begins with, or
 * UINT64_MAX), and finds where the good ones end. `*missing` is how many numbers are missing in
 * between, by damage. False if it can't be read, or without memory: then nothing is known of where
 * it ends, and nothing must be cut off.
 */
bool segment_scan(struct segment *segment, uint64_t limit, uint64_t *missing,
                  struct rasad_error *error);

/* Cuts off what lies behind the good entries, and says how much that was. */
bool segment_cut_tail(struct segment *segment, uint64_t *torn, struct rasad_error *error);

/* Brings to the disk what is in the file. */
bool segment_sync(const struct segment *segment, struct rasad_error *error);

/*
 * The first good entry at or behind `*at` whose number is at least `least` (acks have any number);
 * bytes that are none are passed over. `*at` is then behind it, and `*bytes` is the message, lent
 * until the chunk is used again. False at the end, or if reading has failed (chunk->failed).
 */
bool segment_next(const struct segment *segment, uint64_t *at, uint64_t least,
                  struct segment_chunk *chunk, struct entry *entry, const char **bytes);

/* Writes entries behind `size`, which stays where it is. On false the segment is spoilt, and
 * errno says why, too. */
bool segment_write(struct segment *segment, struct text *entries, bool is_synced,
                   struct rasad_error *error);

void segment_chunk_free(struct segment_chunk *chunk);

void segment_free(struct segment *segment);

/* For SCOPED. */
void segment_free_at(struct segment **segment);
