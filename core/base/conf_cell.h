/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * conf_cell: single values of a conf, by the type that an option row (struct rasad_option) says:
 * from text, and against the row's bounds.
 * Threads: none inside. Memory: a cell owns its text.
 */
#include <rasad/plugin.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* One value; which member counts, the row's type tells. */
struct conf_cell {
    double number;
    int64_t integer; /* a duration, too, in nanoseconds */
    bool flag;
    char *text; /* owned */
};

/* The values of one option. */
struct conf_cells {
    struct conf_cell *at;
    size_t count;
};

/* Frees the cells and their texts. Fits SCOPED. */
void conf_cells_free(struct conf_cells *cells);

/* Whether a row of this type takes a list. */
bool conf_is_list(uint32_t type);

/* The type of one value of a list; of any other type itself. */
uint32_t conf_type_of_one(uint32_t type);

/* Whether the row's duration may be "never", which is 0. */
bool conf_may_be_never(const struct rasad_option *row);

/* Reads everything but the text itself; false if it is not of the row's type. */
bool conf_cell_parse(const struct rasad_option *row, const char *text, struct conf_cell *cell);

/* Whether a value is beyond the row's bound on this side (-1: min, 1: max). */
bool conf_cell_is_beyond(const struct rasad_option *row, const struct conf_cell *cell, int side);
