/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * points: what a plugin's render() writes for one series, gathered and checked against its kind
 * before a format sees it, so that no plugin can break a page.
 * Threads: none inside. Memory: owned by the set, used anew for each series.
 */
#include <rasad/plugin.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/text.h"

/* A point, with the label of its sub-series as offsets into the set's text. */
struct point {
    uint32_t type;
    bool whole;
    double value;
    double bound;
    uint64_t count;
    size_t label_name, label_value, label_value_length; /* of RASAD_POINT_LABEL */
};

struct point_set {
    struct rasad_writer writer; /* what render() is handed */
    struct point *at;
    size_t count;
    size_t capacity;
    struct text labels;
    bool failed; /* there was no memory for all of them */
};

struct point_set point_set_make(void);
void point_set_free(struct point_set *set);

/* Forgets the points and sets the time of rendering. */
void point_set_clear(struct point_set *set, int64_t now_ns);

/* More points than this make no series. */
#define POINTS_MAX 8192

/*
 * Whether they are what a series of this kind (RASAD_GAUGE…) shows: one value; or buckets with
 * rising bounds and counts, and totals; or quantiles that rise, and totals; in each sub-series.
 * `taken` are the label names that the series has already, each with its NUL.
 * Source: OpenMetrics 1.0 § Histogram, Summary, Counter.
 */
bool point_set_fits(const struct point_set *set, uint32_t kind, const struct text *taken);
