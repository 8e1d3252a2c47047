/* SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/conf_cell.h"
#include "base/number.h"
#include "laws/draw.h"

#define COUNT(array) (sizeof(array) / sizeof *(array))

enum { MOST_VALUES = 6 };

/* A bound as the row has it, or else what we take for one. */
static double bound_of(const struct rasad_option *row, const char *text, double otherwise)
{
    struct conf_cell cell = {0};

    if (text == NULL || !conf_cell_parse(row, text, &cell))
        return otherwise;
    return conf_type_of_one(row->type) == RASAD_OPTION_TYPE_NUMBER ? cell.number
                                                                   : (double)cell.integer;
}

/* From low to high: often the ends, else of any order of magnitude. */
static double draw_between(uint64_t *seed, double low, double high)
{
    double share = (double)draw_below(seed, 1 << 20) / (1 << 20);

    switch (draw_below(seed, 6)) {
    case 0:
        return low;
    case 1:
        return high;
    case 2:
        return low + share * (high - low);
    default: /* near the low end: high - low may be large */
        return fmin(high, low + expm1(share * log1p(fmin(high - low, 1e12))));
    }
}

static double draw_option_number(uint64_t *seed, const struct rasad_option *row, bool whole)
{
    double low = bound_of(row, row->min, -100), high = bound_of(row, row->max, fmax(low, 0) + 1000);
    double number = draw_between(seed, fmax(low, -1e15), fmin(high, 1e15));

    if (whole || draw_below(seed, 2) == 0)
        number = fmax(ceil(low), fmin(floor(high), round(number)));
    return number;
}

static void add_number(struct text *out, double number)
{
    char text[NUMBER_LENGTH];

    number_format(number, text);
    text_add_string(out, text[0] == '+' ? "inf" : text);
}

/* In whole milliseconds, the least unit there is. */
static void add_duration(uint64_t *seed, const struct rasad_option *row, struct text *out)
{
    double low = conf_may_be_never(row) ? 1e6 : bound_of(row, row->min, 1e6);
    double high = bound_of(row, row->max, fmax(low, 30 * 86400e9));

    if (conf_may_be_never(row) && draw_below(seed, 4) == 0)
        text_add_string(out, "\"never\"");
    else
        text_printf(out, "\"%.0fms\"", ceil(draw_between(seed, low, high) / 1e6));
}

static void add_word(uint64_t *seed, struct text *out)
{
    static const char *const words[] = {"a",     "aA",  "path", "x", "\xc3\xa9",
                                        "value", "b c", "1",    ""};

    text_printf(out, "\"%s\"", words[draw_below(seed, COUNT(words))]);
}

static int compare_numbers(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

/* Numbers that rise, since nearly all lists are such. */
static void add_numbers(uint64_t *seed, const struct rasad_option *row, struct text *out)
{
    double numbers[MOST_VALUES + 1];
    size_t count = 1 + draw_below(seed, MOST_VALUES);

    for (size_t i = 0; i < count; i++)
        numbers[i] = draw_option_number(seed, row, false);
    if (row->max == NULL && draw_below(seed, 6) == 0)
        numbers[count - 1] = INFINITY;
    if (draw_below(seed, 12) == 0)
        count = 0;
    qsort(numbers, count, sizeof *numbers, compare_numbers);
    text_add_string(out, "{ ");
    for (size_t i = 0; i < count; i++) {
        if (i > 0 && numbers[i] == numbers[i - 1])
            continue;
        text_add_string(out, i > 0 ? ", " : "");
        add_number(out, numbers[i]);
    }
    text_add_string(out, " }");
}

static void add_value(uint64_t *seed, const struct rasad_option *row, struct text *out)
{
    size_t count;

    switch (row->type) {
    case RASAD_OPTION_TYPE_NUMBER:
    case RASAD_OPTION_TYPE_INTEGER:
        add_number(out, draw_option_number(seed, row, row->type == RASAD_OPTION_TYPE_INTEGER));
        return;
    case RASAD_OPTION_TYPE_BOOL:
        text_add_string(out, draw_below(seed, 2) == 0 ? "false" : "true");
        return;
    case RASAD_OPTION_TYPE_DURATION:
        add_duration(seed, row, out);
        return;
    case RASAD_OPTION_TYPE_NUMBERS:
        add_numbers(seed, row, out);
        return;
    case RASAD_OPTION_TYPE_TEXTS:
        count = draw_below(seed, 4);
        text_add_string(out, "{ ");
        for (size_t i = 0; i < count; i++) {
            text_add_string(out, i > 0 ? ", " : "");
            add_word(seed, out);
        }
        text_add_string(out, " }");
        return;
    default:
        add_word(seed, out);
    }
}

void draw_conf(uint64_t seed, const struct rasad_option *rows, size_t count, bool spare,
               const struct conf_statement *given, struct text *out)
{
    for (size_t i = 0; i < count; i++) {
        /* A preset now and then, as most confs will have it. */
        bool skip = rows[i].preset != NULL && (spare || draw_below(&seed, 3) == 0);

        if (skip || (given != NULL && conf_find(given, rows[i].name) != NULL))
            continue;
        text_printf(out, "%s = ", rows[i].name);
        add_value(&seed, &rows[i], out);
        text_add_string(out, "\n");
    }
}
