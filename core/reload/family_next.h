/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * family_next: what the metric families become when another conf takes over. Those that go on stay
 * the same objects, so that their series need not be told; all is worked out first, beside what is,
 * and made so in one step that can't fail.
 * Threads: one, in a standstill, while the view is shut.
 */
#include "family.h"
#include "reload/plan.h"

/* One family under the next conf. */
struct next_family {
    struct family *family; /* the one that goes on; or a new one, owned until the commit */
    const struct conf_metric *metric; /* of the next conf */
    char *name;                       /* of the one that goes on, then; owned until the commit */
    bool is_new;
    bool migrates;           /* its states come over by migrate() */
    bool relabels;           /* its series carry other labels */
    bool merges;             /* some of them may become equal */
    struct family *replaced; /* one that begins anew: whose counters it takes over; or NULL */
};

/* All of them. */
struct families_next {
    struct family_index index;
    struct next_family *at;
    size_t count;
    bool moves; /* series must end or be made anew; else none is looked at */
};

/*
 * Works out what the families become under another conf, by the plan that says so of its sections;
 * `family->next` tells of each. A family that a glob made ends if its name goes to a plain metric,
 * or its key to any other section.
 * False if there is no memory or are too many; nothing has changed then. Ends with
 * families_commit() or families_abort().
 */
bool families_prepare(struct families *families, const struct conf *conf, const struct plan *plan,
                      struct families_next *next, struct rasad_error *error);

/* Makes it so, and frees the families that ended: no series may be theirs any more. Can't fail. */
void families_commit(struct families *families, struct families_next *next);

/* Forgets it. */
void families_abort(struct families *families, struct families_next *next);
