/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * ingest: the way of a message from its bytes to the states: members, keys, families, labels,
 * series, and the plugin's update(). Whatever is refused is counted with its reason and logged at a
 * bounded rate, and harms nothing else.
 * Threads: an ingest belongs to its shard; the counters may be read by all.
 */
#include "admin/tap.h"
#include "admin/verdict.h"
#include "agents.h"
#include "base/gate.h"
#include "base/log.h"
#include "counters.h"
#include "family.h"
#include "isolate/batch.h"
#include "key_cache.h"
#include "message.h"
#include "sender.h"
#include "series.h"

struct ingest {
    const struct conf *conf;
    const struct log *log;
    bool verbose; /* show each message */
    int shard;    /* which of a family's counters are ours */
    struct families *families;
    struct series_store store;
    struct key_cache keys;
    struct message_reader *reader;
    struct counters counters;
    struct taps *taps; /* who watches; NULL: nobody ever does */
    struct verdict_writer verdicts;
    bool is_watched;       /* the message at hand, by anybody */
    const char *key;       /* of the member at hand */
    json_object *json;     /* its value, or the element at hand; NULL outside of members */
    struct batch *batch;   /* for isolated plugins; NULL until there is one */
    struct gate refusals;  /* for the log */
    struct sample sample;  /* the one at hand */
    uint64_t sample_index; /* of it in its message */
    int64_t wall_ns;       /* of the batch at hand */
    int64_t steady_ns;
};

/* False if there is no memory. To be ended with ingest_close(). */
bool ingest_open(struct ingest *ingest, const struct conf *conf, const struct log *log,
                 struct families *families, int shard, bool verbose);
void ingest_close(struct ingest *ingest);

/* Applies a well-formed object without '@' members. */
void ingest_object(struct ingest *ingest, const struct sender *sender, const char *bytes,
                   size_t length, uint32_t traits);

/* Applies what waits for isolated plugins: at the end of each read, before anything else can look
 * at the states or end a sender. */
void ingest_settle(struct ingest *ingest);

/*
 * Counts a refusal and logs it, at a bounded rate. `key` may be NULL; `what` is the reason in
 * words, or bytes from outside that can't be read.
 */
void ingest_refuse(struct ingest *ingest, const struct sender *sender, const char *key,
                   enum reject reason, const char *what, size_t what_length);

/* Tells those who watch, and the sender if he wants to hear, what became of a sample. For a batch
 * that is applied late: only what is_watched said of the sample's message counts. */
void ingest_tell(struct ingest *ingest, const struct sender *sender, struct verdict *verdict);
