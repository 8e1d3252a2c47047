/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * selector: which series a reader wants to see: GLOB, GLOB{label="value",…} or {label="value",…}.
 * The glob (fnmatch(3)) is matched with a family's name as exported, with and without "_total";
 * a label must have just that value, and "" means that the series hasn't got it. Values are written
 * as expositions write them, with \\, \" and \n.
 * Threads: none inside. Memory: a selector owns its texts.
 */
#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"
#include "base/text.h"

/* More labels than this are of no use. */
#define SELECTOR_MOST_LABELS 16

struct selector {
    char *glob;                        /* NULL: every family */
    struct text labels;                /* each as exposition_label() writes it: name="value" */
    size_t ends[SELECTOR_MOST_LABELS]; /* where in `labels` each ends */
    size_t label_count;
};

/* Reads one; NULL or "" selects all. Even on false to be ended with selector_free(). */
bool selector_parse(const char *text, struct selector *selector, struct rasad_error *error);

/* Whether it wants series of the family with this name, as exported without "_total". */
bool selector_wants_family(const struct selector *selector, const char *name);

/* Whether a series with these labels, as exposition_label() writes them one behind the other with a
 * comma between, has the ones that it wants. */
bool selector_wants_labels(const struct selector *selector, const char *labels, size_t length);

/* Fits SCOPED. */
void selector_free(struct selector *selector);
