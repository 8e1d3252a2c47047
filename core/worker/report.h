/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * report: what came of the laws, for people (a line each, as it is there) or as one JSON object. A
 * case comes as JSON lines that can be sent to a server as they stand.
 * Threads: none inside. Memory: owned by the report.
 */
#include <stdbool.h>
#include <stdint.h>

#include "base/text.h"
#include "laws/laws.h"

struct report {
    const struct plugin *plugin; /* lent */
    uint64_t seed;
    bool json;
    struct text out;
    size_t laws; /* told so far */
};

/* Begins a report. */
void report_begin(struct report *report);

/* Tells of one law. Fits laws_check(). */
void report_law(void *report, const struct laws_result *result);

/* Ends it with what was measured; false if there was no memory or standard output is broken. */
bool report_end(struct report *report, const struct laws_figures *figures, bool all_hold);
