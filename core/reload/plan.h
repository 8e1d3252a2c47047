/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * plan: what it means for the metrics if another conf takes the place of the running one, section
 * by section. A section is the same as an older one if it has its title, or else (both plain) its
 * name; what becomes of its series goes by the plugin, its options and its state's version:
 *   - another plugin or kind, or an option that shapes states has changed: they begin anew;
 *   - the same state_version and size: they are kept;
 *   - else the plugin's migrate() brings them over; without one those of an older version begin
 * anew, and those of a newer one refuse the plan, for nothing should be lost by going back.
 * Threads: none inside. Memory: a plan owns its texts and lends both confs.
 */
#include <stdbool.h>
#include <stddef.h>

#include "base/text.h"
#include "conf/conf.h"

enum plan_change { PLAN_KEPT, PLAN_ADDED, PLAN_REMOVED, PLAN_RESTARTED, PLAN_MIGRATED };

/* What becomes of one section. */
struct plan_row {
    char *metric;       /* its title */
    const char *action; /* `change` as a word: "kept", "added", … */
    char *detail;       /* "buckets changed", "1 → 2"; NULL if there is nothing to say */
    enum plan_change change;
    const struct conf_metric *from; /* NULL if it is new; lent */
    const struct conf_metric *to;   /* NULL if it is gone; lent */
};

struct plan {
    struct plan_row *rows; /* in the order of the new conf, then what is gone */
    size_t count;
};

/*
 * Compares. False if the one can't take the place of the other while the server runs: `report` has
 * a line for each reason; or if there is no memory, which it says too. To be ended with
 * plan_free().
 */
bool plan_make(const struct conf *from, const struct conf *to, struct plan *plan,
               struct text *report);

/* The row about a section of the older conf; NULL if there is none. */
const struct plan_row *plan_find(const struct plan *plan, const struct conf_metric *from);

/* Whether the section's series carry other labels than before, or in another order. */
bool plan_relabels(const struct plan_row *row);

/* Whether a label is gone, so that series may become equal. */
bool plan_merges(const struct plan_row *row);

/* Fits SCOPED. */
void plan_free(struct plan *plan);
