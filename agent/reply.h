/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * reply: what a server writes to a named sender (docs/protocol.md): welcome, ack, pong, error and
 * again, each one object. Members and replies that we don't know are ignored, so servers may say
 * more. Threads: none inside. Memory: plain values.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum reply_kind {
    REPLY_OTHER,   /* none of ours */
    REPLY_BROKEN,  /* one of ours, but its members are missing or no proper numbers */
    REPLY_WELCOME, /* applied, committed, chain */
    REPLY_ACK,     /* committed */
    REPLY_PONG,    /* pong */
    REPLY_ERROR,   /* reason, text */
    REPLY_AGAIN,   /* again */
};

struct reply {
    enum reply_kind kind;
    uint64_t applied;
    uint64_t committed; /* at most `applied` in a welcome */
    uint64_t pong;      /* 0 if the server answers a ping that was not ours */
    bool has_chain;
    uint32_t chain; /* at `applied` */
    char again[33]; /* 32 hex digits */
    char reason[64];
    char text[256]; /* for the log; cut to fit */
};

/* Reads one reply: an object that base/frame.h found well-formed. */
struct reply reply_parse(const char *bytes, size_t length);
