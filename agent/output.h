/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * output: makes messages of what a collector sends in one call. Numbers are gathered: samples of
 * one key become one array, and all keys one object, up to some size. Each text is a message of its
 * own, at once.
 * Threads: none inside. Memory: owned by the output; output_free() gives it back.
 */
#include <rasad/collector.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/text.h"
#include "collector.h"

/* Where messages and pings go. */
struct sink {
    void *user;
    void (*push)(void *user, const char *bytes, size_t length); /* one object */
    void (*ping)(void *user);
};

/* The samples of one key. */
struct output_member {
    char *key;          /* owned */
    struct text values; /* by commas */
    size_t count;
};

struct output {
    struct rasad_output base; /* what the collector sees; first, so that one leads to the other */
    const struct collector *collector;
    const struct sink *sink;
    struct output_member *members;
    size_t member_count;
    size_t bytes;    /* gathered */
    bool failed;     /* no memory: something is missing */
    bool undeclared; /* the collector sent a key that it doesn't declare */
};

/* Readies the output for a call of this collector; what is lent must live until output_end(). */
void output_begin(struct output *output, const struct collector *collector, const struct sink *sink,
                  const char *proc, int64_t now_ns, uint64_t seed);

/* Sends what was gathered; false if something was lost for want of memory. */
bool output_end(struct output *output);

void output_free(struct output *output);
