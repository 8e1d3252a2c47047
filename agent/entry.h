/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * entry: what a segment holds: a message with its numbers, or a note about numbers. This is how it
 * lies in the file, see segment.h.
 * Threads: none inside. Memory: the caller's.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/text.h"

/* The longest message that an entry takes. */
#define SEGMENT_MOST_MESSAGE (64u << 20)

/* Bytes that an entry takes beside its message. */
#define ENTRY_HEAD_BYTES 32

/* A stream's 128 random bits. */
#define SEGMENT_STREAM_BYTES 16

enum entry_kind {
    ENTRY_MESSAGE = 1, /* the bytes of message `number` */
    ENTRY_SKIP = 2,    /* the numbers up to `number` will never come */
    ENTRY_ACK = 3,     /* the server had all up to `number` when this was written */
};

struct entry {
    uint32_t kind;
    uint32_t group;
    bool is_first;   /* in its group */
    uint32_t length; /* of a message */
    uint64_t number;
    uint64_t origin; /* the message's number in the inbox's counting */
    uint32_t chain;  /* of the stream before this entry */
};

/* How far a run of entries has come. */
struct segment_end {
    uint64_t next;   /* the number of the next message */
    uint64_t origin; /* of the last message */
    uint64_t acked;  /* what the server is known to have */
    uint32_t chain;  /* over all messages so far */
};

/* Adds an entry to a group; its CRC comes with entries_seal(). */
void entries_add(struct text *entries, const struct entry *entry, const char *bytes);

/* Writes a group's number and CRCs, for this stream. */
void entries_seal(struct text *entries, const unsigned char stream[SEGMENT_STREAM_BYTES],
                  uint32_t group);

/* How far the run is behind this entry. */
void segment_end_pass(struct segment_end *end, const struct entry *entry, const char *bytes);

/* Reads an entry's head, ENTRY_HEAD_BYTES long; whether it looks like one, with `left` bytes behind
 * it. Its CRC tells for certain. */
bool entry_read(const char *head, uint64_t left, struct entry *entry);

/* Whether the CRC of the entry that begins here, with its message, is right for this stream. */
bool entry_is_good(const char *at, const struct entry *entry,
                   const unsigned char stream[SEGMENT_STREAM_BYTES]);
