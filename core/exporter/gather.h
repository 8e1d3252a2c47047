/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * gather: the series of a family as readers see them: what several shards hold of one series is
 * merged, stale gauges are left out, and each state is rendered into points that fit its kind.
 * Threads: any, between view_begin() and view_end(); a gather belongs to one reader.
 * Memory: its own rooms are used anew for each series; what is handed out is lent for the call.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/text.h"
#include "conf/conf.h"
#include "exporter/points.h"
#include "family.h"
#include "series.h"
#include "view.h"

/* One series. */
struct gathered {
    struct family *family;
    const struct series *series; /* the first of those that are merged; NULL: there is none yet */
    struct text *labels;         /* as exposition_label() writes them; to be left as they are */
    const struct point_set *points;
    int64_t created_ns; /* wall, of the oldest */
    int64_t updated_ns; /* steady, of the newest; 0: never */
};

struct gather {
    const struct conf *conf;
    const struct view *view;
    int64_t wall_ns;   /* of reading */
    int64_t steady_ns; /* likewise */
    void (*take)(void *context, const struct gathered *gathered);
    void *context;
    bool failed; /* there was no memory: something is missing */
    struct text labels;
    struct text taken; /* the label names of the family's series, each with its NUL */
    struct point_set points;
    struct gather_queue *queue; /* of an isolated family; NULL until there is one */
    void *merged;               /* room for a state */
    size_t merged_size;
};

/* A gather as of now, without a view, a conf and somebody who takes. */
struct gather gather_make(void);
void gather_free(struct gather *gather);

/* Hands each series of the family to gather->take(). */
void gather_family(struct gather *gather, struct family *family);

/* Adds the labels that the series carries by itself, as exposition_label() writes them. */
void gather_labels(struct text *labels, const struct series *series, const char *agent_label);

/* Adds the name of a series: the family's as exported, and the labels in braces. */
void gather_name(struct text *out, const struct family *family, const struct text *labels);
