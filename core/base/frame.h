/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * frame: cuts a byte stream into top-level JSON values by docs/protocol.md, and checks each of them
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
    FRAME_TOO_LONG,   /* a message longer than max_message */
    FRAME_TRUNCATED,  /* the stream ended within a message (frame_end() only) */
    FRAME_DISCONNECT, /* !DISCONNECT: the sender says goodbye */
};

/* What a well-formed object holds that its reader must know before (bits of frame.traits). */
enum {
    FRAME_HAS_AT = 1,  /* a member of the object itself whose name begins with '@' */
    FRAME_HAS_NUL = 2, /* \u0000 in some member's name */
    FRAME_HAS_BIG = 4, /* an integer of more than 18 digits */
    /* Of any message: it has not a line of its own, but one that another shares, or several, or
     * counted bytes. */
    FRAME_NO_LINE = 8,
};

struct frame {
    size_t max_message;
    size_t start;     /* where the current message begins in the caller's bytes */
    size_t next;      /* the first byte not looked at */
    uint64_t counted; /* the length in a header; then the bytes left behind it */
    uint64_t stack;   /* one bit a level: 1 object, 0 array */
    uint32_t depth;
    uint32_t traits;  /* FRAME_HAS_…, of the message that was found last */
    uint32_t verdict; /* the frame_kind that the current message will be, as far as is known */
    /*
     * CRC-32C over the stream's messages so far. The owner sets it, and adds each FRAME_OBJECT that
     * counts as a message; the bytes of all other messages, which may be too many to keep, are
     * added here as they pass.
     */
    uint32_t chain;
    /*
     * Set by the owner: messages are numbered, so one with an over-long length header is reported
     * where it ends, like all others. Without, it is reported at once, and its bytes then pass.
     */
    bool numbered;
    /* Of the grammar, see frame.c. */
    uint32_t escape; /* the code unit of a \u escape */
    uint32_t width;  /* bytes of a top-level number and its blanks; digits of an inner number */
    uint8_t state;
    uint8_t matched;   /* characters of a literal that have come */
    uint8_t literal;   /* which one */
    uint8_t in_key;    /* the string is a member's name: 2 at its first character, then 1 */
    uint8_t told;      /* the message whose counted bytes pass was reported already */
    uint8_t surrogate; /* a low surrogate must follow */
    uint8_t whole;     /* the number has digits only */
    uint8_t utf8_left; /* continuation bytes still to come */
    uint8_t utf8_low, utf8_high; /* bounds of the next one */
    uint8_t line_open;           /* the line feed behind the last message is still to come */
};

/* A frame at the start of a stream. */
struct frame frame_make(size_t max_message);

/* A frame within a message whose beginning is gone: it is FRAME_TRUNCATED up to the line feed. */
struct frame frame_make_torn(size_t max_message);

/* Whether all bytes so far belong to messages that are at their end. */
bool frame_is_between(const struct frame *frame);

/* Whether they end their lines, too. */
bool frame_is_between_lines(const struct frame *frame);

/*
 * Looks for the next message in the bytes [0, length), of which those before frame->next were seen
 * already. If one is found, [*at, *at + *size) are its bytes (all of a FRAME_OBJECT; of others
 * those that are still there), and further calls with the same bytes go on behind it. On FRAME_MORE
 * the caller drops the first frame_drop() bytes and appends what comes next.
 */
enum frame_kind frame_next(struct frame *frame, const char *bytes, size_t length, size_t *at,
                           size_t *size);

/* How many leading bytes are needed no more; they count as dropped from now on. */
size_t frame_drop(struct frame *frame);

/* What the unfinished message is if the stream ends here: FRAME_MORE if there is none. */
enum frame_kind frame_end(const struct frame *frame);

/* Whether it can be the frame of so many kept bytes: for one that comes from another image of the
 * program. */
bool frame_is_sound(const struct frame *frame, size_t length);
