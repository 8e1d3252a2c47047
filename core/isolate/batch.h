/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * batch: samples of isolated plugins that wait to be run together (isolate.h), with copies of all
 * that they need of their messages, which are gone by then.
 * Threads: a batch belongs to its shard. Memory: the batch's; series and senders are lent, so it is
 * run before either can go: at the end of each read of a connection.
 */
#include <rasad/plugin.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/text.h"
#include "isolate/isolate.h"
#include "message.h"
#include "sender.h"
#include "series.h"

/* One sample. Texts are offsets in batch->texts until batch_run() has set the pointers. */
struct batch_item {
    struct series *series;
    struct sender sender;
    struct rasad_value value;
    struct rasad_exemplar exemplar;
    bool has_exemplar;
    bool clamped;     /* its time was */
    bool watched;     /* somebody wants to hear of it */
    size_t key_at;    /* of the message's member, NUL-terminated */
    size_t text_at;   /* the value's */
    size_t labels_at; /* the exemplar's, as name, NUL, value, NUL */
    size_t sample_at; /* as it came; of a watched one */
    size_t sample_length;
    enum isolate_verdict verdict; /* after batch_run() */
    const char *reason;           /* likewise, unless taken; until the next run */
};

struct batch {
    size_t count;
    struct text texts;
    struct rasad_label *labels; /* of all exemplars, while they run */
    size_t label_count;
    struct batch_item items[ISOLATE_BATCH];
    struct isolate_sample samples[ISOLATE_BATCH]; /* of one isolate */
    size_t places[ISOLATE_BATCH];                 /* of these among the items */
};

/* What batch_add() is told beside the sample; all of it is copied. */
struct batch_origin {
    const struct sender *sender;
    const char *key;
    const char *sample; /* NULL: nobody watches */
    size_t sample_length;
};

/* NULL if there is no memory. */
struct batch *batch_new(void);
void batch_free(struct batch *batch);

/* Adds a sample for this series, whose value is read and has its seed; there must be room. False if
 * there is no memory. */
bool batch_add(struct batch *batch, struct series *series, const struct sample *sample,
               const struct batch_origin *origin);

static inline bool batch_is_full(const struct batch *batch)
{
    return batch->count == ISOLATE_BATCH;
}

/* Runs all of it on this lane: each item has its verdict then, and the states have changed. */
void batch_run(struct batch *batch, uint32_t lane);

/* Forgets all. */
void batch_clear(struct batch *batch);

/* A text of an item, NUL-terminated. */
const char *batch_text(const struct batch *batch, size_t at);
