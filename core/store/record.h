/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * record: what the database in state_dir holds, as bytes. A table each of
 *
 *      about    "format" → magic, format, byte order;   "commit" → number, uptime
 *      layout   id 4     → of which metric, and of what shape, the states of some series are
 *      series   id 8     → one series: its layout, agent, label values and state
 *      stream   id 16 and the agent's name → how far it has come
 *
 * Every record begins with the CRC-32C of its key and of all that follows, for LMDB has none of its
 * own: a page that was torn or lost below it is noticed. Numbers are the machine's own, as in the
 * states, which are a plugin's plain structs; the byte order stands in "format".
 *
 * Ages are told in uptime, the time that servers have run on this database: no jump of the wall
 * clock, and no night that the server was off, lets anything expire.
 *
 * Threads: none inside. Memory: what is read lends the bytes it was read from.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/text.h"

/* Raised when an older server could not read what we write. */
#define RECORD_FORMAT 1

/* Labels that a metric can declare, and those a layout can have. */
#define RECORD_MOST_LABELS 64

/* The last use of a stream that a connection has. */
#define RECORD_IN_USE INT64_MAX

/* Room for a stream's key. */
#define RECORD_STREAM_KEY (16 + 255)

struct record_key {
    const void *at;
    size_t size;
};

/* The database's state as a whole. */
struct record_commit {
    uint64_t number;   /* commits so far */
    int64_t uptime_ns; /* when the last one was made */
};

/* Of what metric, and of what shape, states are. Texts are NUL-terminated. */
struct record_layout {
    const char *title; /* of the metric's section */
    const char *key;   /* that a glob made the family for; "": the section alone decides */
    const char *name;  /* the family's */
    const char *plugin;
    const char *shape;      /* of the options that shape states, see aggregate.h */
    int64_t aside_ns;       /* uptime since when no metric takes it; 0: one does */
    uint32_t kind;          /* the plugin's */
    uint32_t state_version; /* likewise */
    uint32_t exact_size;    /* of a state */
    uint32_t is_glob;       /* 1: the section's title is a glob */
    uint32_t label_count;   /* at most RECORD_MOST_LABELS */
    const char *labels[RECORD_MOST_LABELS];
};

enum {
    RECORD_OVERFLOW = 1, /* it is {overflow="true"} */
    RECORD_AGENT = 2,    /* it has an agent */
    RECORD_NAMED = 4,    /* which said hello */
};

struct record_series {
    uint32_t layout;
    uint32_t flags;
    int64_t created_ns; /* wall */
    int64_t updated_ns; /* uptime */
    uint32_t agent_length, labels_size, state_size;
    const char *agent;           /* not NUL-terminated */
    const unsigned char *labels; /* as series_labels() has them */
    const void *state;           /* at any address */
};

struct record_stream {
    const char *agent; /* not NUL-terminated */
    size_t agent_length;
    unsigned char id[16];
    uint64_t applied;
    uint32_t chain;
    int64_t last_used_ns; /* uptime; RECORD_IN_USE: a connection has it */
    int64_t last_seen_ns; /* wall; of the agent */
};

/* ---- Writing ---- */

/* The record "format". */
void record_add_format(struct text *out);

void record_add_commit(struct text *out, const struct record_commit *commit);
void record_add_layout(struct text *out, uint32_t id, const struct record_layout *layout);

/* How many bytes the series takes, and puts it there. */
size_t record_series_size(const struct record_series *series);
void record_put_series(void *at, uint64_t id, const struct record_series *series);

/* The stream's key, in `room`; and its record. */
struct record_key record_stream_key(const struct record_stream *stream,
                                    unsigned char room[RECORD_STREAM_KEY]);
void record_add_stream(struct text *out, const struct record_stream *stream);

/* ---- Reading: false, with what is wrong, for bytes that none of the above wrote ---- */

/* Says so of a newer format, too. */
bool record_read_format(const void *at, size_t size, struct rasad_error *error);
bool record_read_commit(const void *at, size_t size, struct record_commit *commit,
                        struct rasad_error *error);
bool record_read_layout(struct record_key key, const void *at, size_t size,
                        struct record_layout *layout, struct rasad_error *error);
bool record_read_series(struct record_key key, const void *at, size_t size,
                        struct record_series *series, struct rasad_error *error);
bool record_read_stream(struct record_key key, const void *at, size_t size,
                        struct record_stream *stream, struct rasad_error *error);

/* Whether series of the one are like those of the other but for their age. */
bool record_layout_equals(const struct record_layout *one, const struct record_layout *other);
