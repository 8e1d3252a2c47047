/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * bench: where a law is tried, in a process of its own: a plugin under one conf, some blocks for
 * states that lie in guarded memory, and the plugin's functions with all that must hold around each
 * call. Everything is made before the guards are set, so that from then on nothing but the plugin
 * allocates or calls the system.
 * Threads: one. Memory: the process's; it ends without giving any back.
 * Errors: what does not hold ends the process (bench_fail).
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "aggregate.h"
#include "exporter/points.h"
#include "laws/guard.h"
#include "laws/laws.h"
#include "laws/slate.h"
#include "plugin.h"

/* What is watched while a law is tried. */
enum {
    WATCH_GLOBALS = 1,  /* the plugin's variables can't be written */
    WATCH_CALLS = 2,    /* no system call passes */
    WATCH_HEAP = 4,     /* nothing is allocated or freed */
    WATCH_OUTSIDE = 8,  /* canaries around each block are looked at after each call */
    WATCH_LENT = 16,    /* what a function may only read can't be written */
    WATCH_REFUSED = 32, /* a refused value changes nothing */
    WATCH_REASON = 64,  /* and a reason is given */
    WATCH_VERIFY = 128, /* verify() accepts each state */
};

enum { BENCH_BLOCKS = 6 };

/* The bytes of a state. With WATCH_OUTSIDE the odd ones end where their memory does. */
struct bench_block {
    char *state;
    const char *lent; /* the same bytes; read-only with WATCH_LENT */
    size_t tail;      /* canaries behind it */
};

struct bench {
    const struct plugin *plugin;
    const struct rasad_plugin *api;
    const struct laws_options *options;
    struct slate *slate;
    const void *config; /* NULL if the plugin has none */
    size_t size;
    unsigned watch;
    struct bench_block blocks[BENCH_BLOCKS];
    char *before; /* room for a state */
    struct point_set points[2];
    const void *older_config; /* of options->older, if that is given and takes the conf */
    bool has_older;
    struct guard guard;
};

/* Makes the bench under the conf on the slate, and sets the guards. */
void bench_open(struct bench *bench, unsigned watch);

/* Makes a config struct out of a conf's statements. `others`: those that the plugin doesn't know
 * pass. */
bool bench_configure(const struct plugin *plugin, const char *conf, bool others, void **config,
                     struct rasad_error *error);

/* Ends the process: this law is broken, and how. */
__attribute__((noreturn, format(printf, 3, 4))) void bench_fail(const struct bench *bench, int law,
                                                                const char *format, ...);

/* The same for the law at hand. */
#define bench_require(bench, holds, ...)                                                           \
    do {                                                                                           \
        if (!(holds))                                                                              \
            bench_fail((bench), -1, __VA_ARGS__);                                                  \
    } while (0)

/* A sample of the case as update() gets it. */
struct rasad_value bench_value(const struct case_sample *sample);

/* Makes a block a fresh state, out of bytes of this value. */
void bench_fresh(struct bench *bench, int block, int fill);

/* Feeds a block with the case's samples that go to this part, or to all parts (-1). */
void bench_feed(struct bench *bench, int block, int part);

/* bench_fresh() and bench_feed(). */
void bench_make(struct bench *bench, int block, int part);

void bench_merge(struct bench *bench, int into, int from);

/* Makes a block the same bytes as another. */
void bench_copy(struct bench *bench, int into, int from);

/* Renders a block into one of the two sets of points. */
void bench_render(struct bench *bench, int block, int set);

/* Requires that both blocks render the same, within the plugin's bound; `what` says of which state
 * that was expected. */
void bench_same(struct bench *bench, int block, int other, const char *what);

/* Has verify() look at a block, if there is one. */
void bench_verify(struct bench *bench, int block, enum law_call after);
