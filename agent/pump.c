/* SPDX-License-Identifier: Apache-2.0 */
#include "pump.h"

#include <string.h>

struct pump pump_make(void)
{
    return (struct pump){.frame = frame_make(PUMP_MAX_MESSAGE)};
}

void pump_free(struct pump *pump)
{
    text_free(&pump->kept);
    text_free(&pump->probe);
}

bool pump_feed(struct pump *pump, const char *bytes, size_t length)
{
    if (pump->ended)
        return true;
    if (pump->from > 0) {
        pump->kept.length -= pump->from;
        memmove(pump->kept.at, pump->kept.at + pump->from, pump->kept.length);
        pump->base -= pump->from;
        pump->from = 0;
    }
    text_add(&pump->kept, bytes, length);
    return !pump->kept.failed;
}

static enum pump_result refuse(struct pump_found *found, const char *reason)
{
    *found = (struct pump_found){.reason = reason};
    return PUMP_REFUSED;
}

/* The first message in the probe's bytes by a frame of its own. */
static enum frame_kind probe(const struct pump *pump, struct frame *frame, size_t *at, size_t *size)
{
    *frame = frame_make(PUMP_MAX_MESSAGE);
    return frame_next(frame, pump->probe.at, pump->probe.length, at, size);
}

/*
 * The malformed run that ended at `end`. The frame doesn't keep such bytes, but we do, from the
 * last message on: seen in one piece, they show where the run begins. Then, whether it arrives as
 * one message if it is sent as a line: a counted one may hold several.
 */
static enum pump_result find_run(struct pump *pump, size_t end, struct pump_found *found)
{
    struct frame frame;
    size_t at = 0, size = 0, length;
    enum frame_kind kind;

    text_clear(&pump->probe);
    text_add(&pump->probe, pump->kept.at + pump->from, end - pump->from);
    text_add_char(&pump->probe, '\n');
    if (pump->probe.failed)
        return refuse(found, "bad_json");
    (void)probe(pump, &frame, &at, &size);
    memmove(pump->probe.at, pump->probe.at + at, size);
    pump->probe.at[size] = '\n'; /* there was at least that line feed behind the run */
    pump->probe.length = length = size + 1;
    kind = probe(pump, &frame, &at, &size);
    if (size == 0 || at != 0 || size + 1 != length ||
        (kind != FRAME_BAD_JSON && kind != FRAME_BAD_UTF8))
        return refuse(found, "bad_json");
    *found = (struct pump_found){.bytes = pump->probe.at, .length = size};
    return PUMP_MESSAGE;
}

/* Makes of what the frame found what we do with it. */
static enum pump_result judge(struct pump *pump, enum frame_kind kind, size_t at, size_t size,
                              struct pump_found *found)
{
    bool overlong = pump->overlong;

    pump->overlong = false;
    switch (kind) {
    case FRAME_OBJECT:
        if ((pump->frame.traits & FRAME_HAS_AT) != 0)
            return refuse(found, "protocol");
        *found = (struct pump_found){.bytes = pump->kept.at + at, .length = size};
        return PUMP_MESSAGE;
    case FRAME_BAD_JSON:
    case FRAME_BAD_UTF8:
        if (!overlong)
            return find_run(pump, pump->base + pump->frame.next, found);
        return refuse(found, "too_long");
    case FRAME_TRUNCATED:
        return refuse(found, "truncated");
    default:
        return refuse(found, "too_long");
    }
}

/* All bytes are looked at: those that are needed no more can go. */
static void forget(struct pump *pump)
{
    pump->base += frame_drop(&pump->frame);
    if (frame_end(&pump->frame) == FRAME_MORE) {
        pump->from = pump->base;
    } else if (pump->kept.length - pump->from > PUMP_MAX_MESSAGE) {
        pump->from = pump->base;
        pump->overlong = true;
    }
}

enum pump_result pump_next(struct pump *pump, struct pump_found *found)
{
    enum pump_result result;
    enum frame_kind kind;
    size_t at, size;

    if (pump->ended || pump->kept.length == pump->base)
        return PUMP_MORE;
    kind = frame_next(&pump->frame, pump->kept.at + pump->base, pump->kept.length - pump->base, &at,
                      &size);
    if (kind == FRAME_MORE || kind == FRAME_DISCONNECT) {
        pump->ended = kind == FRAME_DISCONNECT;
        forget(pump);
        return PUMP_MORE;
    }
    result = judge(pump, kind, pump->base + at, size, found);
    pump->from = pump->base + pump->frame.next;
    return result;
}

enum pump_result pump_end(struct pump *pump, struct pump_found *found)
{
    enum frame_kind kind = frame_end(&pump->frame);

    if (pump->ended || kind == FRAME_MORE)
        return PUMP_MORE;
    if (kind == FRAME_BAD_JSON || kind == FRAME_BAD_UTF8) {
        /* The end of the stream ends a malformed run as a line feed does. */
        if (!pump_feed(pump, "\n", 1))
            kind = FRAME_TRUNCATED;
        else if (pump_next(pump, found) == PUMP_MESSAGE)
            return PUMP_MESSAGE;
    }
    pump->ended = true;
    return refuse(found, kind == FRAME_TOO_LONG ? "too_long" : "truncated");
}
