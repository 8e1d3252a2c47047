/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * agents: who sends: named by a hello, or unnamed and told apart by its address; and the streams
 * of the named ones, with the number that each has reached.
 * Threads: a directory belongs to its shard, which alone changes it and looks things up. Others
 * may walk its agents under its lock (agents_each()), and read an agent's atomic members.
 * Memory: counted: an agent lives as long as its directory, a connection or a series holds it. A
 * stream that is forgotten ends when the mark that says so is back, where marks are kept.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cut.h"
#include "table.h"

struct connection;

struct agent {
    struct table_item item;
    _Atomic uint32_t references;
    uint32_t connections; /* now open; the shard's */
    uint32_t streams;     /* known; the shard's */
    uint64_t series;      /* live; the shard's */
    _Atomic bool named;
    /* Steady nanoseconds; 0 while it is connected. */
    _Atomic int64_t gone_since_ns;
    /* Wall nanoseconds of its last message, 0 before the first. */
    _Atomic int64_t last_seen_ns;
    _Atomic int64_t connected_ns; /* wall: when its first connection of those now open came */
    _Atomic uint64_t messages;    /* taken, refused ones too */
    _Atomic uint64_t refused;     /* samples and messages */
    _Atomic uint64_t dropped;     /* numbers that never came */
    _Atomic uint64_t forks;       /* times that a sender's stream was not the one known of it */
    char *address; /* of the newest connection; under the directory's lock; NULL: its name is it */
    uint32_t length;
    char name[]; /* NUL-terminated UTF-8 without control characters */
};

/* What a sender numbers its messages in. Kept when its connection ends. */
struct stream {
    struct table_item item;
    struct agent *agent;
    struct connection *connection; /* the one that may apply messages; NULL if none */
    uint64_t applied;              /* messages taken, refused ones too */
    uint64_t committed;            /* of them, on disk */
    uint32_t chain;                /* CRC-32C over the applied ones */
    bool is_dirty;                 /* the next cut marks it */
    bool is_gone;                  /* out of the table; the next cut says so */
    struct stream *next_dirty;
    int64_t last_used_ns; /* steady */
    /* Of the processes that had it, the last one and the one before; 0: none that is known. */
    uint32_t instance, former_instance;
    uint32_t turns; /* how often these two have taken turns */
    unsigned char id[16];
};

struct agents {
    pthread_mutex_t lock; /* on changing or walking the agents from outside the shard */
    struct table agents;
    struct table streams;
    bool keeps_marks; /* streams are kept on disk; set before there is one */
    struct stream *first_dirty;
    size_t dirty_count;
};

/* The hash that decides which shard an agent belongs to. */
uint32_t agent_hash(const char *name, size_t length);

void agents_open(struct agents *agents);
void agents_close(struct agents *agents);

/* The agent of this name, made if need be; NULL if there is no memory. Lent: take a reference. */
struct agent *agents_get(struct agents *agents, const char *name, size_t length);

/* Notes where a named agent's newest connection comes from. */
void agents_note_address(struct agents *agents, struct agent *agent, const char *address);

/* The agent's stream with this id, made if need be; NULL if there is no memory. Owned by agents. */
struct stream *agents_get_stream(struct agents *agents, struct agent *agent,
                                 const unsigned char id[16]);

/* Notes that the stream has changed, for the next cut. */
void agents_touch_stream(struct agents *agents, struct stream *stream);

/* Has the next cut mark all streams. */
void agents_touch_all(struct agents *agents);

/* Room for what agents_mark() will note; false without memory. `*marks` is NULL where no marks are
 * kept. */
bool agents_reserve_marks(const struct agents *agents, struct marks **marks);

/* Notes how far all streams that have changed have come. NULL is fine. */
void agents_mark(struct agents *agents, struct marks *marks);

/* A mark is back: it is on disk. Frees a stream that is gone; returns any other. */
struct stream *agents_take_mark(struct agents *agents, const struct mark *mark);

struct agent *agent_ref(struct agent *agent);

/* Gives a reference back (from any thread); the last one frees. NULL is fine. */
void agent_unref(struct agent *agent);

/*
 * Forgets up to `most` table slots' worth of what nobody needs any more, from `*slot` on: streams
 * not used and named agents gone since `before_ns`, and unnamed ones that are gone without series.
 */
void agents_sweep(struct agents *agents, size_t *slot, size_t most, int64_t before_ns);

/* Calls for each agent, under the lock, from any thread. */
void agents_each(struct agents *agents, void (*call)(const struct agent *agent, void *context),
                 void *context);
