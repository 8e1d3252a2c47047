/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * table: all laws, in the order in which they are checked. The vital ones come first: where one of
 * them is broken, the others can't be told.
 */
#include "laws/bench.h"
#include "laws/draw.h"

/* Each law's place in laws_all. */
enum law_index {
    LAW_CONFS,
    LAW_IMPORTS,
    LAW_SIZE,
    LAW_RUNS_WELL,
    LAW_CALLS,
    LAW_HEAP,
    LAW_GLOBALS,
    LAW_OUTSIDE,
    LAW_LENT,
    LAW_INIT,
    LAW_NEUTRAL,
    LAW_ASSOCIATIVE,
    LAW_COMMUTATIVE,
    LAW_HALVES,
    LAW_COPY,
    LAW_REFUSED,
    LAW_REASON,
    LAW_KIND,
    LAW_RENDER,
    LAW_VERIFY,
    LAW_MIGRATE,
    LAW_COUNT,
};

struct law {
    const char *title; /* what holds */
    /* Tries it once with the case on the slate; ends the process if it is broken. NULL: laws.c does
     * that itself. */
    void (*run)(struct bench *bench);
    unsigned watch;    /* WATCH_… */
    unsigned draws;    /* DRAW_… */
    unsigned parts;    /* states that the samples of a case go to; 0: it needs no samples */
    bool vital;        /* if it is broken, the others are not checked */
    bool is_of_plugin; /* conf and samples play no role */
    /* Why it can't be checked, or NULL if it can. */
    const char *(*skip)(const struct plugin *plugin, const struct laws_options *options);
};

extern const struct law laws_all[LAW_COUNT];

/* conduct.c: what functions may do. */
void law_size(struct bench *bench);
void law_exercise(struct bench *bench);
void law_kind(struct bench *bench);
void law_render(struct bench *bench);
void law_migrate(struct bench *bench);

/* algebra.c: what states mean. */
void law_init(struct bench *bench);
void law_neutral(struct bench *bench);
void law_associative(struct bench *bench);
void law_commutative(struct bench *bench);
void law_halves(struct bench *bench);
void law_copy(struct bench *bench);

/* imports.c */
void law_imports(struct bench *bench);
