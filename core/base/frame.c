/* SPDX-License-Identifier: Apache-2.0 */
#include "base/frame.h"

#include <string.h>

#include "base/crc32c.h"

/* The old header: a decimal length padded with blanks to so many bytes. */
#define HEADER_BYTES 64

/* Integers of up to so many digits fit int64_t. */
#define SAFE_DIGITS 18

enum state {
    /* Between values. */
    TOP,
    TOP_BLANKS, /* behind a bare number that may become a length header */
    COUNTED,    /* waiting for the bytes that a header announced */
    SKIP_COUNTED,
    SKIP_LINE,
    LITERAL, /* true, false, null, !DISCONNECT */
    /* Within a value. */
    VALUE,
    VALUE_OR_END, /* behind '[' */
    NAME,
    NAME_OR_END, /* behind '{' */
    COLON,
    AFTER, /* behind a value: ',' or the end of what holds it */
    STRING,
    ESCAPE,
    ESCAPE_U1,
    ESCAPE_U2,
    ESCAPE_U3,
    ESCAPE_U4,
    ESCAPE_PAIR, /* the backslash of the low surrogate */
    MINUS,
    ZERO,
    INTEGER,
    POINT,
    FRACTION,
    EXPONENT,
    EXPONENT_SIGN,
    EXPONENT_DIGITS,
};

enum literal { LITERAL_TRUE, LITERAL_FALSE, LITERAL_NULL, LITERAL_DISCONNECT };
static const char *const literals[] = {"true", "false", "null", "!DISCONNECT"};

/* What a step makes of a byte. */
enum step {
    TAKEN,       /* the byte is used up */
    AGAIN,       /* the state changed; look at the byte again */
    DONE,        /* the message ends with this byte */
    DONE_BEFORE, /* the message ended before this byte */
};

struct frame frame_make(size_t max_message)
{
    return (struct frame){.max_message = max_message, .verdict = FRAME_OBJECT};
}

struct frame frame_make_torn(size_t max_message)
{
    return (struct frame){
        .max_message = max_message, .state = SKIP_LINE, .verdict = FRAME_TRUNCATED};
}

bool frame_is_between(const struct frame *frame)
{
    return frame->state == TOP;
}

bool frame_is_between_lines(const struct frame *frame)
{
    return frame_is_between(frame) && frame->line_open == 0;
}

static bool is_digit(unsigned char c)
{
    return c >= '0' && c <= '9';
}

static bool is_blank(unsigned char c)
{
    return c == ' ' || c == '\n' || c == '\t' || c == '\r';
}

/* A blank within a value. */
static enum step take_blank(struct frame *frame, unsigned char c)
{
    if (c == '\n')
        frame->traits |= FRAME_NO_LINE;
    return TAKEN;
}

/* From here to the line feed all is one refused message. */
static enum step fail_as(struct frame *frame, enum frame_kind verdict)
{
    if (frame->verdict == FRAME_OBJECT || frame->verdict == FRAME_DISCONNECT)
        frame->verdict = verdict;
    frame->state = SKIP_LINE;
    return AGAIN;
}

static enum step fail(struct frame *frame)
{
    return fail_as(frame, FRAME_BAD_JSON);
}

static enum step enter(struct frame *frame, enum state state)
{
    frame->state = (uint8_t)state;
    return TAKEN;
}

/* A value has ended: what holds it goes on, or it was the message. */
static enum step end_value(struct frame *frame, enum step at_top)
{
    frame->state = AFTER;
    return frame->depth == 0 ? at_top : at_top == DONE ? TAKEN : AGAIN;
}

static enum step open_container(struct frame *frame, bool is_object)
{
    if (frame->depth == FRAME_MAX_DEPTH)
        return fail(frame);
    frame->stack = frame->stack << 1 | is_object;
    frame->depth++;
    return enter(frame, is_object ? NAME_OR_END : VALUE_OR_END);
}

static enum step close_container(struct frame *frame)
{
    frame->stack >>= 1;
    frame->depth--;
    return end_value(frame, DONE);
}

static enum step open_string(struct frame *frame, bool is_name)
{
    frame->in_key = is_name ? 2 : 0;
    return enter(frame, STRING);
}

static enum step open_literal(struct frame *frame, enum literal literal)
{
    frame->literal = (uint8_t)literal;
    frame->matched = 1;
    return enter(frame, LITERAL);
}

static enum step open_number(struct frame *frame, unsigned char c)
{
    frame->whole = c != '-';
    frame->width = 1;
    frame->counted = is_digit(c) ? (uint64_t)(c - '0') : 0;
    return enter(frame, c == '-' ? MINUS : c == '0' ? ZERO : INTEGER);
}

/* The first byte of a value, wherever it stands. */
static enum step step_value(struct frame *frame, unsigned char c)
{
    switch (c) {
    case '{':
        return open_container(frame, true);
    case '[':
        return open_container(frame, false);
    case '"':
        return open_string(frame, false);
    case 't':
        return open_literal(frame, LITERAL_TRUE);
    case 'f':
        return open_literal(frame, LITERAL_FALSE);
    case 'n':
        return open_literal(frame, LITERAL_NULL);
    default:
        if (c == '-' || is_digit(c))
            return open_number(frame, c);
        /* A byte that can't begin any UTF-8 character tells what the run is. */
        return fail_as(frame,
                       (c >= 0x80 && c < 0xc2) || c > 0xf4 ? FRAME_BAD_UTF8 : FRAME_BAD_JSON);
    }
}

/* Between values: anything but an object, a number and a goodbye is refused as what it is. */
static enum step step_top(struct frame *frame, unsigned char c)
{
    if (is_blank(c)) {
        frame->line_open &= c != '\n';
        return TAKEN;
    }
    /* A number at top level is likely to be the header of counted bytes. */
    frame->traits = frame->line_open != 0 || is_digit(c) ? FRAME_NO_LINE : 0;
    /* An array, a string or a literal is refused, but only where it ends. */
    frame->verdict =
        c == '[' || c == '"' || c == 't' || c == 'f' || c == 'n' ? FRAME_BAD_JSON : FRAME_OBJECT;
    if (c == '!') {
        frame->verdict = FRAME_DISCONNECT;
        return open_literal(frame, LITERAL_DISCONNECT);
    }
    return step_value(frame, c);
}

static enum step step_literal(struct frame *frame, unsigned char c)
{
    const char *text = literals[frame->literal];

    if (c != (unsigned char)text[frame->matched])
        return fail(frame);
    frame->matched++;
    return text[frame->matched] == '\0' ? end_value(frame, DONE) : TAKEN;
}

/* ---- Numbers ---- */

/* A number has ended before this byte. At top level it is skipped, unless it becomes a header. */
static enum step end_number(struct frame *frame)
{
    if (frame->depth > 0) {
        if (frame->width > SAFE_DIGITS && frame->whole)
            frame->traits |= FRAME_HAS_BIG;
        return end_value(frame, DONE_BEFORE);
    }
    frame->state = TOP_BLANKS;
    return AGAIN;
}

static void take_digit(struct frame *frame, unsigned char c)
{
    frame->width += frame->width < UINT32_MAX;
    if (__builtin_mul_overflow(frame->counted, 10, &frame->counted) ||
        __builtin_add_overflow(frame->counted, (uint64_t)(c - '0'), &frame->counted))
        frame->counted = UINT64_MAX;
}

/* Behind the digits before the point. */
static enum step step_integer(struct frame *frame, unsigned char c)
{
    if (is_digit(c)) {
        if (frame->state == ZERO)
            return fail(frame);
        take_digit(frame, c);
        return TAKEN;
    }
    if (c != '.' && c != 'e' && c != 'E')
        return end_number(frame);
    frame->whole = false;
    return enter(frame, c == '.' ? POINT : EXPONENT);
}

static enum step step_number(struct frame *frame, unsigned char c)
{
    bool digit = is_digit(c);

    switch ((enum state)frame->state) {
    case MINUS:
        if (!digit)
            return fail(frame);
        frame->whole = frame->depth > 0; /* a length has no sign */
        return enter(frame, c == '0' ? ZERO : INTEGER);
    case ZERO:
    case INTEGER:
        return step_integer(frame, c);
    case POINT:
        return digit ? enter(frame, FRACTION) : fail(frame);
    case FRACTION:
        if (c == 'e' || c == 'E')
            return enter(frame, EXPONENT);
        return digit ? TAKEN : end_number(frame);
    case EXPONENT:
        if (c == '+' || c == '-')
            return enter(frame, EXPONENT_SIGN);
        return digit ? enter(frame, EXPONENT_DIGITS) : fail(frame);
    case EXPONENT_SIGN:
        return digit ? enter(frame, EXPONENT_DIGITS) : fail(frame);
    default:
        return digit ? TAKEN : end_number(frame);
    }
}

/* A length header is whole. The bytes of a message that is too long are passed over. */
static enum step end_header(struct frame *frame)
{
    if (frame->counted <= frame->max_message)
        return enter(frame, COUNTED);
    frame->verdict = FRAME_TOO_LONG;
    frame->told = !frame->numbered;
    frame->state = SKIP_COUNTED;
    return frame->told ? DONE : TAKEN;
}

/* Behind a bare number: nothing, or blanks that make a length header of it. */
static enum step step_top_blanks(struct frame *frame, unsigned char c)
{
    if (c != ' ' || !frame->whole || frame->width >= HEADER_BYTES) {
        frame->state = TOP;
        return AGAIN;
    }
    frame->width++;
    return frame->width == HEADER_BYTES ? end_header(frame) : TAKEN;
}

/* ---- Strings ---- */

static enum step end_string(struct frame *frame)
{
    if (frame->in_key == 0)
        return end_value(frame, DONE);
    return enter(frame, COLON);
}

/* The first byte of a character beyond ASCII: bounds after RFC 3629 section 4. */
static enum step open_utf8(struct frame *frame, unsigned char c)
{
    if (c < 0xc2 || c > 0xf4)
        return fail_as(frame, FRAME_BAD_UTF8);
    frame->utf8_left = c < 0xe0 ? 1 : c < 0xf0 ? 2 : 3;
    frame->utf8_low = c == 0xe0 ? 0xa0 : c == 0xf0 ? 0x90 : 0x80;
    frame->utf8_high = c == 0xed ? 0x9f : c == 0xf4 ? 0x8f : 0xbf;
    return TAKEN;
}

static enum step step_utf8(struct frame *frame, unsigned char c)
{
    if (c < frame->utf8_low || c > frame->utf8_high) {
        frame->utf8_left = 0;
        return fail_as(frame, FRAME_BAD_UTF8);
    }
    frame->utf8_left--;
    frame->utf8_low = 0x80;
    frame->utf8_high = 0xbf;
    return TAKEN;
}

/* Notes what the character says of a member's name. */
static void note_name(struct frame *frame, uint32_t character)
{
    if (frame->in_key == 2 && frame->depth == 1 && character == '@')
        frame->traits |= FRAME_HAS_AT;
    if (frame->in_key != 0 && character == 0)
        frame->traits |= FRAME_HAS_NUL;
    frame->in_key = frame->in_key != 0;
}

static enum step step_string(struct frame *frame, unsigned char c)
{
    if (frame->utf8_left > 0)
        return step_utf8(frame, c);
    if (c == '"')
        return end_string(frame);
    if (c == '\\')
        return enter(frame, ESCAPE);
    if (c < 0x20)
        return fail(frame);
    note_name(frame, c);
    return c < 0x80 ? TAKEN : open_utf8(frame, c);
}

static enum step step_escape(struct frame *frame, unsigned char c)
{
    switch (c) {
    case '"':
    case '\\':
    case '/':
    case 'b':
    case 'f':
    case 'n':
    case 'r':
    case 't':
        if (frame->surrogate)
            return fail(frame);
        note_name(frame, '\\');
        return enter(frame, STRING);
    case 'u':
        frame->escape = 0;
        return enter(frame, ESCAPE_U1);
    default:
        return fail(frame);
    }
}

/* A \u escape is whole: surrogates come in pairs, the high one first. */
static enum step end_escape(struct frame *frame)
{
    bool high = frame->escape >= 0xd800 && frame->escape < 0xdc00;
    bool low = frame->escape >= 0xdc00 && frame->escape < 0xe000;

    if (low != (bool)frame->surrogate)
        return fail(frame);
    frame->surrogate = high;
    note_name(frame, frame->escape);
    return enter(frame, high ? ESCAPE_PAIR : STRING);
}

static enum step step_hex(struct frame *frame, unsigned char c)
{
    uint32_t digit;

    if (is_digit(c))
        digit = c - '0';
    else if ((c | 0x20) >= 'a' && (c | 0x20) <= 'f')
        digit = (c | 0x20U) - 'a' + 10;
    else
        return fail(frame);
    frame->escape = frame->escape << 4 | digit;
    if (frame->state == ESCAPE_U4)
        return end_escape(frame);
    frame->state++;
    return TAKEN;
}

/* ---- Containers ---- */

static enum step step_after(struct frame *frame, unsigned char c)
{
    bool in_object = (frame->stack & 1) != 0;

    if (is_blank(c))
        return take_blank(frame, c);
    if (c == ',')
        return enter(frame, in_object ? NAME : VALUE);
    if (c == (in_object ? '}' : ']'))
        return close_container(frame);
    return fail(frame);
}

static enum step step_name(struct frame *frame, unsigned char c)
{
    if (is_blank(c))
        return take_blank(frame, c);
    if (c == '"')
        return open_string(frame, true);
    if (c == '}' && frame->state == NAME_OR_END)
        return close_container(frame);
    return fail(frame);
}

static enum step step_inner_value(struct frame *frame, unsigned char c)
{
    if (is_blank(c))
        return take_blank(frame, c);
    if (c == ']' && frame->state == VALUE_OR_END)
        return close_container(frame);
    return step_value(frame, c);
}

/* One byte through the grammar. */
static enum step step(struct frame *frame, unsigned char c)
{
    switch ((enum state)frame->state) {
    case TOP:
        return step_top(frame, c);
    case TOP_BLANKS:
        return step_top_blanks(frame, c);
    case SKIP_LINE:
        return c == '\n' ? DONE_BEFORE : TAKEN;
    case LITERAL:
        return step_literal(frame, c);
    case VALUE:
    case VALUE_OR_END:
        return step_inner_value(frame, c);
    case NAME:
    case NAME_OR_END:
        return step_name(frame, c);
    case COLON:
        return is_blank(c) ? take_blank(frame, c) : c == ':' ? enter(frame, VALUE) : fail(frame);
    case AFTER:
        return step_after(frame, c);
    case STRING:
        return step_string(frame, c);
    case ESCAPE:
        return step_escape(frame, c);
    case ESCAPE_PAIR:
        return c == '\\' ? enter(frame, ESCAPE) : fail(frame);
    case ESCAPE_U1:
    case ESCAPE_U2:
    case ESCAPE_U3:
    case ESCAPE_U4:
        return step_hex(frame, c);
    default:
        return step_number(frame, c);
    }
}

/* ---- The way through the bytes ---- */

/* Whether the current message's bytes are needed: only an object is handed on. */
static bool keeps_bytes(const struct frame *frame)
{
    return frame->verdict == FRAME_OBJECT || frame->verdict == FRAME_DISCONNECT;
}

/* Takes [start, next) into the chain and forgets it, if the bytes need not be kept. */
static void pass_unkept(struct frame *frame, const char *bytes)
{
    if (frame->state == TOP || frame->state == TOP_BLANKS)
        frame->start = frame->next; /* blanks, or a bare number: no message's bytes */
    if (keeps_bytes(frame))
        return;
    frame->chain = crc32c(frame->chain, bytes + frame->start, frame->next - frame->start);
    frame->start = frame->next;
}

/* The next message begins afresh. */
static void begin_afresh(struct frame *frame)
{
    frame->start = frame->next;
    frame->state = TOP;
    frame->line_open = 1;
    frame->verdict = FRAME_OBJECT;
    frame->depth = 0;
    frame->stack = 0;
    frame->surrogate = 0;
    frame->utf8_left = 0;
}

/* The message that ends before frame->next is reported. */
static enum frame_kind report(struct frame *frame, const char *bytes, size_t *at, size_t *size)
{
    enum frame_kind kind = frame->verdict;

    *at = frame->start;
    *size = frame->next - frame->start;
    if (frame->state == SKIP_COUNTED && frame->told) {
        frame->start = frame->next; /* behind its header; its bytes are yet to pass */
        return kind;
    }
    if (!keeps_bytes(frame))
        frame->chain = crc32c(frame->chain, bytes + *at, *size);
    begin_afresh(frame);
    return kind;
}

/*
 * Counted bytes are one message: one object and blanks, or a goodbye, or refused as a whole. They
 * are framed like a stream of their own, in which no length header can stand.
 */
static enum frame_kind judge_counted(struct frame *frame, const char *body, size_t *at,
                                     size_t *size)
{
    struct frame inner = frame_make(frame->max_message);
    size_t length = *size;
    enum frame_kind kind;

    while (inner.next < length && is_blank((unsigned char)body[inner.next]))
        inner.next++;
    if (inner.next == length || (body[inner.next] != '{' && body[inner.next] != '!'))
        return FRAME_BAD_JSON;
    kind = frame_next(&inner, body, length, at, size);
    frame->traits = inner.traits | FRAME_NO_LINE;
    while (kind == FRAME_OBJECT && inner.next < length) {
        if (!is_blank((unsigned char)body[inner.next++]))
            return FRAME_BAD_JSON;
    }
    if (kind == FRAME_MORE) /* it goes on beyond its bytes, or was malformed without a line's end */
        return inner.verdict == FRAME_BAD_UTF8 ? FRAME_BAD_UTF8 : FRAME_BAD_JSON;
    return kind;
}

/* All bytes that the header announced are there. */
static enum frame_kind report_counted(struct frame *frame, const char *bytes, size_t *at,
                                      size_t *size)
{
    size_t start = frame->next, inner_at = 0, inner_size = (size_t)frame->counted;
    enum frame_kind kind = judge_counted(frame, bytes + start, &inner_at, &inner_size);

    frame->start = start;
    frame->next = start + (size_t)frame->counted;
    frame->verdict = kind;
    (void)report(frame, bytes, at, size);
    if (kind == FRAME_OBJECT) {
        *at = start + inner_at;
        *size = inner_size;
    }
    return kind;
}

/* Passes over the bytes of a message that was too long by its header; true if it ends here and is
 * yet to be reported. */
static bool skip_counted(struct frame *frame, const char *bytes, size_t length)
{
    size_t there = length - frame->next;

    if (there > frame->counted)
        there = (size_t)frame->counted;
    frame->counted -= there;
    frame->next += there;
    pass_unkept(frame, bytes);
    if (frame->counted > 0)
        return false;
    if (!frame->told)
        return true;
    begin_afresh(frame);
    return false;
}

/* Plain characters of a string, of which messages mostly consist, without a step each. */
static void pass_plain(struct frame *frame, const char *bytes, size_t length)
{
    size_t i = frame->next;

    while (i < length && (unsigned char)bytes[i] >= 0x20 && (unsigned char)bytes[i] < 0x80 &&
           bytes[i] != '"' && bytes[i] != '\\')
        i++;
    frame->next = i;
}

/*
 * A message that is too long is so from its first byte beyond, wherever reads cut it. A bare number
 * is skipped, but until its end it might turn out malformed, so it is kept and has the same limit.
 */
static void judge_length(struct frame *frame, bool done)
{
    if (frame->next - frame->start <= frame->max_message)
        return;
    if (frame->depth == 0 && !done && frame->state >= MINUS)
        (void)fail_as(frame, FRAME_TOO_LONG);
    else if ((frame->depth > 0 || done) && frame->verdict == FRAME_OBJECT)
        frame->verdict = FRAME_TOO_LONG;
}

/* One step on, over at least one byte or into another state. */
static enum step advance(struct frame *frame, const char *bytes, size_t length)
{
    enum step taken = AGAIN;

    if (frame->state == TOP)
        frame->start = frame->next;
    if (frame->state == STRING && frame->in_key != 2 && frame->utf8_left == 0) {
        pass_plain(frame, bytes, length);
        judge_length(frame, false);
    }
    if (frame->next < length)
        taken = step(frame, (unsigned char)bytes[frame->next]);
    if (taken == TAKEN || taken == DONE)
        frame->next++;
    if (frame->state == COUNTED || frame->state == SKIP_COUNTED)
        frame->start = frame->next; /* a header is no part of its message */
    judge_length(frame, taken == DONE);
    return taken;
}

enum frame_kind frame_next(struct frame *frame, const char *bytes, size_t length, size_t *at,
                           size_t *size)
{
    for (;;) {
        if (frame->state == COUNTED && length - frame->next >= frame->counted)
            return report_counted(frame, bytes, at, size);
        if (frame->next == length || frame->state == COUNTED)
            break;
        if (frame->state == SKIP_COUNTED) {
            if (skip_counted(frame, bytes, length))
                return report(frame, bytes, at, size);
        } else {
            enum step taken = advance(frame, bytes, length);

            if (taken == DONE || taken == DONE_BEFORE)
                return report(frame, bytes, at, size);
        }
    }
    pass_unkept(frame, bytes);
    return FRAME_MORE;
}

size_t frame_drop(struct frame *frame)
{
    size_t dropped = frame->start;

    frame->next -= dropped;
    frame->start = 0;
    return dropped;
}

enum frame_kind frame_end(const struct frame *frame)
{
    if (frame->state == TOP || frame->state == TOP_BLANKS)
        return FRAME_MORE;
    if (frame->state == SKIP_COUNTED && frame->told)
        return FRAME_MORE;
    if (frame->depth == 0 && frame->state >= MINUS)
        return FRAME_MORE; /* a bare number */
    return keeps_bytes(frame) ? FRAME_TRUNCATED : (enum frame_kind)frame->verdict;
}

bool frame_is_sound(const struct frame *frame, size_t length)
{
    size_t literal_count = sizeof literals / sizeof *literals;

    if (frame->start > frame->next || frame->next > length || frame->state > EXPONENT_DIGITS ||
        frame->depth > FRAME_MAX_DEPTH || frame->verdict > FRAME_DISCONNECT ||
        frame->verdict == FRAME_MORE || frame->utf8_left > 3 || frame->in_key > 2)
        return false;
    if (frame->state >= VALUE && frame->state <= AFTER && frame->depth == 0)
        return false; /* these are within something */
    if (frame->state == COUNTED && frame->counted > frame->max_message)
        return false;
    return frame->state != LITERAL || (frame->literal < literal_count && frame->matched > 0 &&
                                       frame->matched < strlen(literals[frame->literal]));
}
