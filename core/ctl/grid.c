/* SPDX-License-Identifier: Apache-2.0 */
#include "grid.h"

#include <math.h>
#include <string.h>
#include <wchar.h>

#include "base/number.h"
#include "base/scoped.h"
#include "base/utf8.h"

#define MOST_COLUMNS 16

size_t grid_width(const char *bytes, size_t length)
{
    size_t width = 0;

    for (size_t i = 0; i < length;) {
        uint32_t point = 0;
        size_t taken = utf8_decode(bytes + i, length - i, &point);
        int cells = taken > 0 ? wcwidth((wchar_t)point) : 1;

        width += cells >= 0 ? (size_t)cells : 1;
        i += taken > 0 ? taken : 1;
    }
    return width;
}

static void add_seconds(struct text *out, double seconds)
{
    unsigned long long whole = seconds > 0 && seconds < 1e15 ? (unsigned long long)seconds : 0;

    if (whole < 60)
        text_printf(out, "%.1fs", seconds > 0 ? seconds : 0.0);
    else if (whole < 3600)
        text_printf(out, "%llum%02llus", whole / 60, whole % 60);
    else if (whole < 86400)
        text_printf(out, "%lluh%02llum", whole / 3600, whole / 60 % 60);
    else
        text_printf(out, "%llud%02lluh", whole / 86400, whole / 3600 % 24);
}

static void add_number(struct text *out, json_object *value)
{
    char number[NUMBER_LENGTH];

    if (json_object_is_type(value, json_type_double))
        text_add(out, number, number_format(json_object_get_double(value), number));
    else
        text_add_string(out, json_object_get_string(value));
}

void grid_add_value(struct text *out, json_object *value, enum grid_kind kind)
{
    bool is_number =
        json_object_is_type(value, json_type_int) || json_object_is_type(value, json_type_double);

    if (value == NULL ||
        (json_object_is_type(value, json_type_string) && json_object_get_string_len(value) == 0))
        text_add_char(out, '-');
    else if (is_number && kind == GRID_SECONDS)
        add_seconds(out, json_object_get_double(value));
    else if (is_number)
        add_number(out, value);
    else if (json_object_is_type(value, json_type_string))
        text_add_visible(out, json_object_get_string(value),
                         (size_t)json_object_get_string_len(value));
    else /* true and false */
        text_add_string(out, json_object_get_string(value));
}

static json_object *cell(json_object *rows, size_t row, const struct grid_column *column)
{
    json_object *value = NULL;

    (void)json_object_object_get_ex(json_object_array_get_idx(rows, row), column->member, &value);
    return value;
}

/* The widest that the column holds. `scratch` is used for its cells. */
static size_t column_width(json_object *rows, const struct grid_column *column,
                           struct text *scratch)
{
    size_t width = strlen(column->title);

    for (size_t row = 0; row < json_object_array_length(rows); row++) {
        size_t needed;

        text_clear(scratch);
        grid_add_value(scratch, cell(rows, row, column), column->kind);
        needed = grid_width(scratch->at, scratch->length);
        if (needed > width)
            width = needed;
    }
    return width;
}

static void add_blanks(struct text *out, size_t count)
{
    while (count-- > 0)
        text_add_char(out, ' ');
}

/* Adds a cell of this width; behind the last of a line there are no blanks. */
static void add_cell(struct text *out, const struct text *shown, size_t width, enum grid_kind kind,
                     bool is_last)
{
    size_t taken = grid_width(shown->at, shown->length);
    size_t blanks = width > taken ? width - taken : 0; /* it is wider only for want of memory */

    if (kind != GRID_TEXT)
        add_blanks(out, blanks);
    text_add(out, shown->at, shown->length);
    if (is_last)
        text_add_char(out, '\n');
    else
        add_blanks(out, (kind == GRID_TEXT ? blanks : 0) + 2);
}

/* One row; without rows the titles. */
static void add_row(struct text *out, json_object *rows, size_t row,
                    const struct grid_column *columns, size_t column_count, const size_t *widths)
{
    SCOPED(text_free) struct text shown = {0};

    for (size_t i = 0; i < column_count; i++) {
        text_clear(&shown);
        if (rows == NULL)
            text_add_string(&shown, columns[i].title);
        else
            grid_add_value(&shown, cell(rows, row, &columns[i]), columns[i].kind);
        add_cell(out, &shown, widths[i], columns[i].kind, i + 1 == column_count);
        out->failed |= shown.failed;
    }
}

void grid_add(struct text *out, json_object *rows, const struct grid_column *columns,
              size_t column_count)
{
    SCOPED(text_free) struct text scratch = {0};
    size_t widths[MOST_COLUMNS];

    if (column_count > MOST_COLUMNS)
        column_count = MOST_COLUMNS;
    for (size_t i = 0; i < column_count; i++)
        widths[i] = column_width(rows, &columns[i], &scratch);
    add_row(out, NULL, 0, columns, column_count, widths);
    for (size_t row = 0; row < json_object_array_length(rows); row++)
        add_row(out, rows, row, columns, column_count, widths);
    out->failed |= scratch.failed;
}
