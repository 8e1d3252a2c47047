/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * isolate_inside: what the parts of isolate share; nobody else needs it.
 */
#include <pthread.h>
#include <stdatomic.h>

#include "base/gate.h"
#include "base/text.h"
#include "isolate/isolate.h"
#include "isolate/lane.h"
#include "isolate/point_wire.h"

/* Twice as many as there can be states of a batch: a hash table with short ways. */
#define SLOT_COUNT (2 * ISOLATE_BATCH)

/* How something that was asked of the plugin ended. */
enum outcome {
    OUTCOME_FINE,
    OUTCOME_DIED,
    OUTCOME_HUNG,
    OUTCOME_SPILLED,  /* it wrote outside of a state */
    OUTCOME_NONSENSE, /* its points are none */
    OUTCOME_LOST,     /* somebody else killed it */
    OUTCOME_BARRED,   /* there is no process, and none can be started */
};

/* A master and the how manieth of the batch's states it is. */
struct slot {
    const void *state;
    uint32_t round; /* of the batch; an older one: the slot is free */
    uint32_t index;
};

/* A lane and its owner's rooms. */
struct bench {
    struct lane lane;
    unsigned char canary[CHANNEL_CANARY_BYTES]; /* random, so that nobody writes it by chance */
    uint32_t round;
    struct slot slots[SLOT_COUNT];
    void *masters[ISOLATE_BATCH]; /* by index */
    uint32_t state_count;
    uint32_t indices[ISOLATE_BATCH]; /* of the samples' states */
    bool changed[ISOLATE_BATCH];     /* of the states */
    struct rasad_error failure;      /* why it is barred */
    char reasons[ISOLATE_BATCH][CHANNEL_REASON_BYTES];
};

struct isolate {
    struct keeper keeper;
    char *metric;
    char *plugin;
    char *version;
    uint32_t state_version;
    size_t state_bytes;
    int64_t timeout_ns;
    struct isolate_house house;
    struct bench **benches;  /* one a lane, and the readers' last */
    pthread_mutex_t reading; /* on the readers' bench */
    struct text points;      /* likewise: what a process rendered, copied */
    _Atomic bool off;
    _Atomic uint64_t started;
    pthread_mutex_t blame;   /* on what follows */
    uint32_t in_a_row;       /* culprits without a success between */
    uint32_t hung;           /* culprits that hung, since then: */
    int64_t hung_since_ns;   /* steady */
    struct gate crashes;     /* for the log */
    bool told_missing;       /* it was said that part of the sandbox is missing */
    _Atomic bool has_blamed; /* in_a_row is not 0 */
};

/* What was asked, for a culprit's file. */
struct question {
    const char *doing;
    const struct isolate_sample *sample; /* NULL: none */
    const void *state;
};

/* Makes the lane ready; false: the bench has the reason, and it was logged. */
bool isolate_ready(struct isolate *isolate, struct bench *bench, size_t request_bytes,
                   size_t answer_bytes);

/* Puts a copy of a state and the canary behind it into the channel. */
void isolate_put_state(struct isolate *isolate, struct bench *bench, size_t i, const void *state);

/* Puts the canary before the first state. */
void isolate_put_front(struct bench *bench);

/* Has the process do the job that lies in the channel, and looks at the canaries. */
enum outcome isolate_run(struct isolate *isolate, struct bench *bench, uint32_t state_count);

/* Something went well. */
void isolate_praise(struct isolate *isolate);

/* This ended a fresh process by itself; `text` is what to say about it to whoever asked. */
void isolate_blame(struct isolate *isolate, const struct bench *bench, enum outcome outcome,
                   const struct question *question, char text[CHANNEL_REASON_BYTES]);

/*
 * Whether to ask the same once more, alone, after `tries` that ended so: a process that had others
 * before may have been spoilt by them, and one that somebody else killed tells nothing.
 */
bool isolate_tries_again(const struct bench *bench, enum outcome outcome, int tries);
