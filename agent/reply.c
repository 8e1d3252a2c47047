/* SPDX-License-Identifier: Apache-2.0 */
#include "reply.h"

#include <string.h>

/*
 * A walk over JSON that is known to be well-formed: nothing here checks grammar, but nothing looks
 * beyond `end` either.
 */
struct walk {
    const char *at, *end;
};

/* A run of the reply's bytes; of a string those between its quotes. */
struct run {
    const char *at;
    size_t length;
};

static void skip_blanks(struct walk *walk)
{
    while (walk->at < walk->end && strchr(" \t\r\n", *walk->at) != NULL)
        walk->at++;
}

static char peek(struct walk *walk)
{
    skip_blanks(walk);
    return walk->at < walk->end ? *walk->at : '\0';
}

static struct run take_string(struct walk *walk)
{
    struct run run = {.at = ++walk->at}; /* behind the quote */

    while (walk->at < walk->end && *walk->at != '"')
        walk->at += *walk->at == '\\' && walk->end - walk->at > 1 ? 2 : 1;
    run.length = (size_t)(walk->at - run.at);
    if (walk->at < walk->end)
        walk->at++;
    return run;
}

/* Passes over an object or an array with all that is in it. */
static void skip_container(struct walk *walk)
{
    int depth = 0;

    do {
        char c = peek(walk);

        if (c == '"') {
            (void)take_string(walk);
            continue;
        }
        depth += (c == '{' || c == '[') - (c == '}' || c == ']');
        walk->at += walk->at < walk->end;
    } while (depth > 0 && walk->at < walk->end);
}

/* The value that comes next: a string's inside, or all bytes of anything else. */
static struct run take_value(struct walk *walk)
{
    char c = peek(walk);
    struct run run = {.at = walk->at};

    if (c == '"')
        return take_string(walk);
    if (c == '{' || c == '[')
        skip_container(walk);
    else
        while (walk->at < walk->end && strchr(",}] \t\r\n", *walk->at) == NULL)
            walk->at++;
    run.length = (size_t)(walk->at - run.at);
    return run;
}

/* The next member of the object that the walk is in; false at its end. */
static bool next_member(struct walk *walk, struct run *name, struct run *value)
{
    if (peek(walk) == '{' || peek(walk) == ',')
        walk->at++;
    if (peek(walk) != '"')
        return false;
    *name = take_string(walk);
    if (peek(walk) != ':')
        return false;
    walk->at++;
    *value = take_value(walk);
    return true;
}

static bool is(struct run run, const char *text)
{
    return run.length == strlen(text) && memcmp(run.at, text, run.length) == 0;
}

/* A whole number without sign, exponent or fraction that fits. */
static bool read_number(struct run run, uint64_t *number)
{
    uint64_t sum = 0;

    for (size_t i = 0; i < run.length; i++) {
        if (run.at[i] < '0' || run.at[i] > '9' || __builtin_mul_overflow(sum, 10, &sum) ||
            __builtin_add_overflow(sum, (uint64_t)(run.at[i] - '0'), &sum))
            return false;
    }
    *number = sum;
    return run.length > 0;
}

/* 8 lower-case hex digits. */
static bool read_chain(struct run run, uint32_t *chain)
{
    static const char digits[] = "0123456789abcdef";

    *chain = 0;
    for (size_t i = 0; i < run.length; i++) {
        const char *digit = memchr(digits, run.at[i], 16);

        if (digit == NULL)
            return false;
        *chain = *chain << 4 | (uint32_t)(digit - digits);
    }
    return run.length == 8;
}

/* 32 lower-case hex digits. */
static bool read_again(struct run run, char again[33])
{
    for (size_t i = 0; i < run.length; i++) {
        if (memchr("0123456789abcdef", run.at[i], 16) == NULL)
            return false;
    }
    if (run.length != 32)
        return false;
    memcpy(again, run.at, run.length);
    again[run.length] = '\0';
    return true;
}

/* Copies a string as it stands, escapes and all: it is for people, and the log escapes the rest. */
static void read_text(struct run run, char *text, size_t room)
{
    size_t length = run.length < room - 1 ? run.length : room - 1;

    memcpy(text, run.at, length);
    text[length] = '\0';
}

static enum reply_kind read_welcome(struct run body, struct reply *reply)
{
    struct walk walk = {.at = body.at, .end = body.at + body.length};
    bool fine = true, applied = false, committed = false;
    struct run name, value;

    while (next_member(&walk, &name, &value)) {
        if (is(name, "applied"))
            fine &= applied = read_number(value, &reply->applied);
        else if (is(name, "committed"))
            fine &= committed = read_number(value, &reply->committed);
        else if (is(name, "chain"))
            fine &= reply->has_chain = read_chain(value, &reply->chain);
    }
    return fine && applied && committed && reply->committed <= reply->applied ? REPLY_WELCOME
                                                                              : REPLY_BROKEN;
}

static enum reply_kind read_error(struct run body, struct reply *reply)
{
    struct walk walk = {.at = body.at, .end = body.at + body.length};
    struct run name, value;

    while (next_member(&walk, &name, &value)) {
        if (is(name, "reason"))
            read_text(value, reply->reason, sizeof reply->reason);
        else if (is(name, "text"))
            read_text(value, reply->text, sizeof reply->text);
    }
    return REPLY_ERROR;
}

struct reply reply_parse(const char *bytes, size_t length)
{
    struct walk walk = {.at = bytes, .end = bytes + length};
    struct reply reply = {.kind = REPLY_OTHER};
    struct run name, value;

    while (reply.kind == REPLY_OTHER && next_member(&walk, &name, &value)) {
        if (is(name, "@welcome")) {
            reply.kind = read_welcome(value, &reply);
        } else if (is(name, "@ack")) {
            reply.kind = read_number(value, &reply.committed) ? REPLY_ACK : REPLY_BROKEN;
        } else if (is(name, "@pong")) {
            reply.kind = REPLY_PONG;
            if (!read_number(value, &reply.pong))
                reply.pong = 0;
        } else if (is(name, "@error")) {
            reply.kind = read_error(value, &reply);
        } else if (is(name, "@again")) {
            reply.kind = read_again(value, reply.again) ? REPLY_AGAIN : REPLY_BROKEN;
        }
    }
    return reply;
}
