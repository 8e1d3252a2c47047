/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * channel: the memory that a lane of the server (lane.h) and one hand of an isolated plugin's
 * worker (worker/hand.h) share, one job at a time. Three parts:
 *   - the control page: the bell that calls the hand, the word that tells whether it works, and
 *     what it answers beside bytes;
 *   - the request, which the hand can only read: the job, and values with their texts;
 *   - the answer: copies of states, each between two canaries, and behind them what is rendered.
 * The word `owner` is in the hand's robust list: it holds the hand's thread id, and FUTEX_WAITERS
 * beside it while a job is in work, so that the kernel itself wakes the server when the hand dies.
 * Nothing that the hand can write is believed: the server copies out first and checks the copy.
 * Threads: one lane and one hand, by turns. Memory: a sealed memory file, mapped by both.
 */
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

/* Samples, series or states of one job. */
#define CHANNEL_MOST 256

/* Bytes between two states, which a plugin must leave as they are. */
#define CHANNEL_CANARY_BYTES 16

/* Room for a refusal's text, as in struct rasad_error. */
#define CHANNEL_REASON_BYTES 512

enum channel_verb {
    CHANNEL_UPDATE = 1,  /* items are struct channel_sample */
    CHANNEL_RENDER = 2,  /* items are uint32_t: how many states are merged for each series */
    CHANNEL_MERGE = 3,   /* no items: all states into the first */
    CHANNEL_MIGRATE = 4, /* no items, but `count` older states of `from_bytes` each */
};

/* What the hand says of one item. */
enum channel_verdict { CHANNEL_REFUSED = 0, CHANNEL_TAKEN = 1 };

struct channel_control {
    _Alignas(64) _Atomic uint32_t bell;  /* one more for each job; the hand waits for it */
    _Alignas(64) _Atomic uint32_t owner; /* see above; 0 before the hand is there */
    _Alignas(64) uint32_t missing;       /* sandbox_… steps that were not permitted */
    uint32_t rendered;                   /* series of the job whose points are all there */
    uint64_t points_bytes;               /* of their points (point_wire.h) */
    uint8_t verdicts[CHANNEL_MOST];
    char reasons[CHANNEL_MOST][CHANNEL_REASON_BYTES]; /* of refusals, NUL-terminated */
};

/* The job, at the start of the request; the items follow, and then what offsets in them mean. */
struct channel_job {
    uint32_t verb;
    uint32_t count;       /* of items */
    uint32_t state_count; /* in the answer */
    uint32_t from_version;
    int64_t now_ns;
    uint64_t from_bytes;
};

/* A value (struct rasad_value); offsets are from the start of the request. */
struct channel_sample {
    uint32_t state; /* the how manieth of the answer's */
    uint32_t type;
    double number;
    int64_t time_ns;
    uint64_t seed;
    uint64_t text; /* length + 1 bytes, the last one NUL */
    uint64_t length;
    uint64_t labels;      /* of the exemplar: name, NUL, value, NUL, and so on */
    uint32_t label_count; /* of the exemplar */
    uint32_t has_exemplar;
};

/* Where the parts lie in this process. */
struct channel {
    struct channel_control *control;
    unsigned char *request;
    size_t request_bytes;
    unsigned char *answer;
    size_t answer_bytes;
};

/* The bytes of the control part; a multiple of every page size that we meet. */
#define CHANNEL_CONTROL_BYTES                                                                      \
    ((sizeof(struct channel_control) + UINT64_C(65535)) & ~UINT64_C(65535))

/* The whole memory file's size for parts of these sizes. */
static inline size_t channel_bytes(size_t request_bytes, size_t answer_bytes)
{
    return CHANNEL_CONTROL_BYTES + request_bytes + answer_bytes;
}

/* The parts of the memory that is mapped at `at`. */
static inline struct channel channel_at(void *at, size_t request_bytes, size_t answer_bytes)
{
    unsigned char *bytes = at;

    return (struct channel){
        .control = at,
        .request = bytes + CHANNEL_CONTROL_BYTES,
        .request_bytes = request_bytes,
        .answer = bytes + CHANNEL_CONTROL_BYTES + request_bytes,
        .answer_bytes = answer_bytes,
    };
}

/* From one state to the next: its bytes, its canary, and so many that both stay aligned. */
static inline size_t channel_stride(size_t state_bytes)
{
    return (state_bytes + CHANNEL_CANARY_BYTES + 15) & ~(size_t)15;
}

/* Where state `i` begins in the answer; a canary lies before the first, too. */
static inline size_t channel_state_at(size_t state_bytes, size_t i)
{
    return CHANNEL_CANARY_BYTES + i * channel_stride(state_bytes);
}

/* Where the items begin in the request. */
static inline size_t channel_items_at(void)
{
    return (sizeof(struct channel_job) + 15) & ~(size_t)15;
}
