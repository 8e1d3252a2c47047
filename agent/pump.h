/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * pump: takes a stream of JSON values apart into the messages that a server would see in it, so
 * that both number them alike. Objects go on as they are, and so does what is malformed, each run
 * as one message: it is the server's to refuse and count it. Bare numbers are skipped. Refused here
 * is what can't be handed on: objects with an '@' member (they steer the protocol), too long ones,
 * a truncated end, and malformed runs that would not arrive as one.
 *
 * Threads: none inside. Memory: owned by the pump, bounded by twice the longest message.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/frame.h"
#include "base/text.h"

/* The longest message, as a server takes it by default. */
#define PUMP_MAX_MESSAGE (1 << 20)

struct pump {
    struct text kept; /* bytes from outside, with those from `from` on still needed */
    size_t from;      /* the end of the last message */
    size_t base;      /* where the frame's bytes begin; from <= base */
    struct frame frame;
    bool overlong;     /* the message under way is longer than what we keep */
    bool ended;        /* the sender said goodbye: the rest is ignored */
    struct text probe; /* room to try malformed runs in */
};

/* What came out. */
enum pump_result {
    PUMP_MORE,    /* nothing: feed it, or it is at its end */
    PUMP_MESSAGE, /* a message to push */
    PUMP_REFUSED, /* one that can't be pushed */
};

/* What a pump has found. Lent until the next call. */
struct pump_found {
    const char *bytes; /* of a message */
    size_t length;
    const char *reason; /* of a refusal: of rasad-protocol(7)'s, or "protocol" */
};

struct pump pump_make(void);

void pump_free(struct pump *pump);

/* Adds bytes; false without memory. */
bool pump_feed(struct pump *pump, const char *bytes, size_t length);

/* The next message in what was fed. */
enum pump_result pump_next(struct pump *pump, struct pump_found *found);

/* At the end of the stream, after pump_next() has found no more: what is left, until PUMP_MORE. */
enum pump_result pump_end(struct pump *pump, struct pump_found *found);
