/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * isolate: a metric's plugin that runs in a worker process of its own (`isolate = true`). None of
 * its code runs in the server, not even a constructor. The server keeps the only masters of all
 * states; the worker gets copies, each between two canaries, a batch at a time, and what comes back
 * counts only when the whole batch went well.
 *
 * A batch that ends in a death, in silence for longer than isolate_timeout, or with a broken canary
 * has changed nothing: its samples are run again one by one. A sample that ends a fresh process by
 * itself is the culprit: it is refused, and kept as a file for the plugin's author (culprit.h).
 * Five culprits in a row, over all that is asked of the plugin, or twenty within a minute that
 * hung, and the metric is switched off until the next reload.
 *
 * Threads: isolate_update() by each thread on a lane of its own; what reads (render, merge,
 * migrate) by any, one at a time on one further lane, which a lock guards. Opening and closing by
 * one. Memory: the isolate's; masters are the caller's, and are only bytes to it.
 */
#include <rasad/plugin.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/error.h"
#include "base/log.h"
#include "plugin.h"

/* Samples of one batch. */
#define ISOLATE_BATCH 256

/* The default of isolate_timeout. */
#define ISOLATE_TIMEOUT_NS (INT64_C(250) * 1000000)

struct isolate;

/* What an isolate is told of the house it works in; lent, and outlives it. */
struct isolate_house {
    const struct log *log;
    const char *crash_folder; /* for culprits; NULL: they are not kept */
    uint32_t lanes;           /* threads that update */
};

/* What became of a sample. */
enum isolate_verdict {
    ISOLATE_TAKEN,
    ISOLATE_REFUSED, /* by update() */
    ISOLATE_CRASHED, /* the plugin can't take it: to be refused as plugin_crash */
};

/* A sample of a batch. */
struct isolate_sample {
    void *state;                  /* the master; the same address for the same series */
    struct rasad_value value;     /* what it points to is lent until the batch is done */
    const char *agent;            /* who sent it, for the culprit's file; may be NULL */
    enum isolate_verdict verdict; /* out */
    const char *reason;           /* out, unless taken: a text, until the lane's next batch */
};

/*
 * Starts a worker, which loads the plugin (described here, but not loaded) and configures it with
 * the section, valid conf such as `metric "X" { plugin = "peak" … }`. On false the error has what
 * it or its configure() said.
 */
bool isolate_open(const struct plugin *plugin, const char *metric, const char *section,
                  int64_t timeout_ns, struct isolate **out, struct rasad_error *error);

/* Makes the lanes; before the first of the calls below that needs one. */
bool isolate_begin(struct isolate *isolate, const struct isolate_house *house,
                   struct rasad_error *error);

/* Ends the worker. NULL is fine. */
void isolate_close(struct isolate *isolate);

/* A fresh state, which init() made, and its size. */
const void *isolate_fresh(const struct isolate *isolate, size_t *bytes);

/* Runs update() for each of up to ISOLATE_BATCH samples, in their order. */
void isolate_update(struct isolate *isolate, uint32_t lane, struct isolate_sample *samples,
                    size_t count);

/* A series to render: its states, at least one, which are merged first. */
struct isolate_series {
    const void *const *states;
    size_t count;
};

/* Who takes what is rendered. */
struct isolate_sink {
    /* Where the points of series `i` go. */
    struct rasad_writer *(*begin)(void *context, size_t i);
    /* They are all there; or, on false, there are none, since the plugin could not. */
    void (*end)(void *context, size_t i, bool fine);
    void *context;
};

/* Renders series as of this time, in their order and many at a time. */
void isolate_render_all(struct isolate *isolate, const struct isolate_series *series, size_t count,
                        int64_t now_ns, const struct isolate_sink *sink);

/* Renders one; on false nothing was written. */
bool isolate_render(struct isolate *isolate, const void *const *states, size_t count,
                    struct rasad_writer *writer, struct rasad_error *error);

/* Makes `into` the state of it and the others; on false it is as it was. */
bool isolate_merge(struct isolate *isolate, void *into, const void *const *from, size_t count,
                   struct rasad_error *error);

/* Makes a state in `into` out of an older one, as migrate() does; on false `into` is as it was. */
bool isolate_migrate(struct isolate *isolate, uint32_t from_version, const void *from,
                     size_t from_bytes, void *into, struct rasad_error *error);

/* Whether it is switched off. */
bool isolate_is_off(const struct isolate *isolate);

/* Processes that it has started for its lanes, which is 1 a lane if nothing ever went wrong. */
uint64_t isolate_started(const struct isolate *isolate);

/* Its worker's main process, a child of ours; -1: there is none now. */
pid_t isolate_process(const struct isolate *isolate);
