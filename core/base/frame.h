/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * frame: cuts a byte stream into top-level JSON values by DESIGN 1.3, and checks each of them
 * strictly against RFC 8259 on the way (grammar, UTF-8, escapes in pairs, depth), so that what
 * comes out as FRAME_OBJECT is a well-formed object, whatever library reads it next. The stream may
 * be cut anywhere between two reads; no byte is looked at twice.
 *
 * Objects may run together or stand behind the old 64-byte length header (a number that blanks pad
 * to 64 bytes; the next so many bytes are one message). What is malformed is one message up to the
 * next line feed, or to the end of its counted bytes.
 *
 * Threads: none inside; a frame belongs to its connection. Memory: nothing of its own; the caller
 * keeps the bytes of an unfinished message, which are at most `max_message` many.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* How deep a value may nest. */
#define FRAME_MAX_DEPTH 32

enum frame_kind {
    FRAME_MORE,       /* all bytes are looked at; come back with more */
    FRAME_OBJECT,     /* a well-formed object */
    FRAME_BAD_JSON,   /* a malformed run, or a value that is no object */
    FRAME_BAD_UTF8,   /* a run with malformed UTF-8 */
    FRAME_TOO_LONG,   /* a message longer than max_message; its bytes were not kept */
    FRAME_DISCONNECT, /* !DISCONNECT: the sender says goodbye */
};

/* What a well-formed object holds that its reader must know before (bits of frame.traits). */
enum {
    FRAME_HAS_AT = 1,      /* a member of the object itself whose name begins with '@' */
    FRAME_HAS_NUL = 2,     /* \u0000 in some member name */
    FRAME_HAS_BIG = 4,     /* an integer of more than 18 digits */
};

struct frame {
    size_t max_message;
    size_t start;       /* where the current message begins in the caller's bytes */
    size_t next;        /* the first byte not looked at */
    uint64_t counted;   /* bytes left of a message behind a length header */
    uint64_t stack;     /* one bit a level: 1 object, 0 array */
    uint32_t state;     /* of the grammar; see frame.c */
    uint32_t depth;
    uint32_t traits;    /* FRAME_HAS_…, of the message that was found last */
    uint32_t escape;    /* code point bits of a \u escape */
    uint32_t surrogate; /* whether a low surrogate must follow */
    uint32_t digits;    /* of the number or length that is being read */
    uint32_t utf8_left; /* continuation bytes still to come */
    uint32_t utf8_low, utf8_high; /* bounds of the next continuation byte */
    uint32_t string_is_key;
    uint32_t skipping;  /* the frame_kind that a skipped run will be reported as */
};

/* A frame at the start of a stream. */
struct frame frame_make(size_t max_message);

/*
 * Looks for the next message in the bytes [0, length), of which those before frame->next were seen
 * already. If one is found, [*at, *at + *size) are its exact bytes (size 0 where they were not
 * kept), and further calls with the same bytes go on behind it. On FRAME_MORE the caller may drop
 * the first frame_drop() bytes and must append what comes next.
 */
enum frame_kind frame_next(struct frame *frame, const char *bytes, size_t length, size_t *at,
                           size_t *size);

/* How many leading bytes are needed no more; they count as dropped from now on. */
size_t frame_drop(struct frame *frame);

/* Whether the stream may end here: not in the middle of a message. */
bool frame_at_rest(const struct frame *frame);
