/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * options: what the chaos suite's senders are told, as words NAME=VALUE.
 * Threads: none inside. Memory: texts are the command line's.
 */
#include <stdint.h>

/* The exit code of a sender to which a promise was broken. */
#define BROKEN_WORD 3

struct options {
    const char *name;      /* name: of the agent */
    const char *stream;    /* stream: 32 hex digits */
    const char *state;     /* state: the file that remembers what was promised */
    const char *spool;     /* spool: a folder */
    uint64_t port;         /* port: of the server, on 127.0.0.1 */
    uint64_t index;        /* index: whose workload */
    uint64_t first;        /* first: the first to be printed */
    uint64_t messages;     /* messages: how many, so the last one's number */
    uint64_t plain;        /* plain=1: nothing malformed */
    uint64_t seed;         /* seed: for what is left to chance */
    uint64_t window_bytes; /* window: how much may be unacknowledged */
    /*
     * begin=NS seconds=S step=MS: at steady time NS + t, of the messages as many are released as t
     * is of S seconds, in steps of MS. Without seconds all are, at once.
     */
    uint64_t begin_ns, seconds, step_ms;
};

/* Reads the words; ends the process with 64 if one is wrong. */
struct options options_read(int count, char **words);

/* How many messages may have been sent by now. */
uint64_t options_released(const struct options *options);

/* Ends the process with a line on standard error. */
__attribute__((format(printf, 2, 3), noreturn)) void die(int code, const char *format, ...);
