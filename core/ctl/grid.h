/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * grid: rows of JSON objects as a table for people: columns as wide as what they show takes on a
 * terminal, numbers to the right, and whatever would steer a terminal escaped.
 * Threads: none inside (the widths go by the locale's LC_CTYPE). Memory: the caller's text.
 */
#include <json-c/json.h>
#include <stddef.h>

#include "base/text.h"

enum grid_kind {
    GRID_TEXT,    /* to the left */
    GRID_NUMBER,  /* to the right */
    GRID_SECONDS, /* a time span, to the right: "0.4s", "5m02s", "3h12m", "2d04h" */
};

struct grid_column {
    const char *title;
    const char *member; /* of each row; what is missing or null is shown as "-" */
    enum grid_kind kind;
};

/* Adds a line of titles and one for each object in the array. */
void grid_add(struct text *out, json_object *rows, const struct grid_column *columns,
              size_t column_count);

/* Adds one value as a column of this kind shows it. */
void grid_add_value(struct text *out, json_object *value, enum grid_kind kind);

/* How many cells of a terminal the UTF-8 text takes. */
size_t grid_width(const char *bytes, size_t length);
