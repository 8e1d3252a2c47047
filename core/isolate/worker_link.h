/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * worker_link: what the server and a worker's main process say to each other over their socket:
 * messages of a kind, some bytes and perhaps a descriptor. Rare ones: samples go another way
 * (channel.h).
 * Threads: none inside. Memory: a received message is the receiver's, until worker_message_end().
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/text.h"

enum worker_kind {
    WORKER_FAILED = 1, /* to the server: why it can't go on, as a text for users */
    WORKER_DESCRIBED,  /* to the server: plugin_describe.h */
    WORKER_SECTION,    /* to the worker: the metric's section of the conf */
    WORKER_FACTS,      /* to the server: the bytes of a fresh state */
    WORKER_START,      /* to the worker: struct worker_start, and the channel's memory */
    WORKER_STARTED,    /* to the server: a uint32_t, the hand's process id; and its pidfd */
    WORKER_REAP,       /* to the worker: such a process id */
    WORKER_REAPED,     /* to the server: a uint32_t, how it ended, as wait(2) has it */
};

/* No message is longer. */
#define WORKER_MOST_BYTES (4u << 20)

/* A new hand for this lane. */
struct worker_start {
    uint64_t request_bytes;
    uint64_t answer_bytes;
    uint32_t lane;
    uint32_t reserved;
};

struct worker_message {
    uint32_t kind;
    struct text bytes;
    int passed; /* the descriptor that came with it, or -1 */
};

/* No message. */
#define WORKER_MESSAGE_NONE ((struct worker_message){.passed = -1})

/* Sends a message; `passed` may be -1. False if the other side is gone. */
bool worker_send(int link, enum worker_kind kind, const void *bytes, size_t length, int passed);

/* Waits for a message until then (steady nanoseconds; INT64_MAX: for ever). False if the other side
 * is gone, sends nonsense, or is late. */
bool worker_receive(int link, int64_t deadline_ns, struct worker_message *message);

/* Frees it and closes its descriptor. Fits SCOPED. */
void worker_message_end(struct worker_message *message);
