/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * laws: whether a plugin keeps the laws of rasad/plugin.h, by property: random samples under random
 * confs, and what its states render is compared. Each law is tried in a process of its own, so a
 * plugin that crashes, hangs, or writes where it may not is found to do so, and nothing else
 * happens. All randomness comes from one seed: the same seed tries the same.
 *
 *   laws.c     has law by law tried and says what was found
 *   work.c     what each process does              process.c  starts it, waits, says how it ended
 *   algebra.c  the laws about what states mean     conduct.c  those about what functions may do
 *   imports.c  the law about what is called by name           table.h    all of them
 *   bench.c, compare.c   where a law is tried      guard.c    what watches a process
 *   draw.c, draw_conf.c  samples, confs            shrink.c   makes a case smaller
 *   slate.h    what a law's process shares with the one that waits for it
 *
 * Threads: the process must have but one, since it forks. Memory: nothing is kept.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "laws/slate.h"
#include "plugin.h"

struct laws_options {
    uint64_t seed;
    const struct plugin *older;  /* an older build, whose states migrate() shall take; or NULL */
    const char *const *settings; /* statements that all confs shall have */
    size_t setting_count;
    /* The program's malloc() is ours (a sanitizer's is not): from now on it calls `found` with the
     * name of its function, or no more if that is NULL. NULL: allocation is not watched. */
    void (*watch_heap)(void (*found)(const char *function));
};

/* What came of one law. */
struct laws_result {
    const char *title; /* such as "merge is associative" */
    enum law_outcome outcome;
    uint64_t cases;    /* tried, under all confs */
    char detail[1024]; /* how it is broken, why it is skipped, or what else is to be said; or "" */
    const char *conf;  /* broken: the conf's statements, for as long as the call */
    const struct law_case *smallest; /* broken: the smallest case found that breaks it, or NULL */
    bool has_parts;                  /* whether it matters which state a sample goes to */
};

/* What is no law, but good to know. */
struct laws_figures {
    size_t confs, confs_tried; /* taken by configure() */
    size_t state_size;         /* under the first conf */
    double update_ns[2];       /* of a number and of a text; 0 if it takes none */
};

/* Checks all laws and tells each result as it is there. False if that can't be done; else `*hold`
 * says whether none is broken. */
bool laws_check(const struct plugin *plugin, const struct laws_options *options,
                void (*tell)(void *context, const struct laws_result *result), void *context,
                struct laws_figures *figures, bool *hold, struct rasad_error *error);

/* A few rounds of each law in a few milliseconds. False if one is broken, or if it can't be tried:
 * `breaks the law "merge is associative": …`. */
bool laws_check_quickly(const struct plugin *plugin, const struct laws_options *options,
                        struct rasad_error *error);

/* "update()", for texts. */
const char *laws_call_name(enum law_call call);
