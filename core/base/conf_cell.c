/* SPDX-License-Identifier: Apache-2.0 */
#include "base/conf_cell.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/number.h"

void conf_cells_free(struct conf_cells *cells)
{
    for (size_t i = 0; i < cells->count; i++)
        free(cells->at[i].text);
    free(cells->at);
    *cells = (struct conf_cells){0};
}

bool conf_is_list(uint32_t type)
{
    return type == RASAD_OPTION_TYPE_NUMBERS || type == RASAD_OPTION_TYPE_TEXTS;
}

uint32_t conf_type_of_one(uint32_t type)
{
    if (type == RASAD_OPTION_TYPE_NUMBERS)
        return RASAD_OPTION_TYPE_NUMBER;
    return type == RASAD_OPTION_TYPE_TEXTS ? RASAD_OPTION_TYPE_TEXT : type;
}

static bool parse_number(const char *text, double *number)
{
    const char *digits = text[0] == '-' || text[0] == '+' ? text + 1 : text;

    if (strcasecmp(digits, "inf") == 0) {
        *number = text[0] == '-' ? -INFINITY : INFINITY;
        return true;
    }
    return number_parse(text, strlen(text), number);
}

/* Decimal only: libconfuse would take 010 for 8. */
static bool parse_integer(const char *text, int64_t *integer)
{
    const char *digits = text[0] == '-' ? text + 1 : text;
    size_t length = strspn(digits, "0123456789");

    if (length == 0 || digits[length] != '\0' || (digits[0] == '0' && length > 1))
        return false;
    errno = 0;
    *integer = strtoll(text, NULL, 10);
    return errno == 0;
}

/* The words that libconfuse knows. */
static bool parse_bool(const char *text, bool *flag)
{
    static const char *const words[][3] = {{"false", "no", "off"}, {"true", "yes", "on"}};

    for (size_t i = 0; i < 6; i++) {
        if (strcasecmp(text, words[i / 3][i % 3]) != 0)
            continue;
        *flag = i >= 3;
        return true;
    }
    return false;
}

bool conf_may_be_never(const struct rasad_option *row)
{
    return row->min != NULL && strcmp(row->min, "never") == 0;
}

static bool parse_duration(const struct rasad_option *row, const char *text, int64_t *duration_ns)
{
    if (conf_may_be_never(row) && (strcmp(text, "never") == 0 || strcmp(text, "0") == 0)) {
        *duration_ns = 0;
        return true;
    }
    return duration_parse(text, duration_ns);
}

bool conf_cell_parse(const struct rasad_option *row, const char *text, struct conf_cell *cell)
{
    switch (conf_type_of_one(row->type)) {
    case RASAD_OPTION_TYPE_NUMBER:
        return parse_number(text, &cell->number);
    case RASAD_OPTION_TYPE_INTEGER:
        return parse_integer(text, &cell->integer);
    case RASAD_OPTION_TYPE_BOOL:
        return parse_bool(text, &cell->flag);
    case RASAD_OPTION_TYPE_DURATION:
        return parse_duration(row, text, &cell->integer);
    default:
        return true;
    }
}

/* -1, 0 or 1, as strcmp(); texts and bools are all equal. */
static int compare_cells(const struct rasad_option *row, const struct conf_cell *a,
                         const struct conf_cell *b)
{
    switch (conf_type_of_one(row->type)) {
    case RASAD_OPTION_TYPE_NUMBER:
        return (a->number > b->number) - (a->number < b->number);
    case RASAD_OPTION_TYPE_INTEGER:
    case RASAD_OPTION_TYPE_DURATION:
        return (a->integer > b->integer) - (a->integer < b->integer);
    default:
        return 0;
    }
}

bool conf_cell_is_beyond(const struct rasad_option *row, const struct conf_cell *cell, int side)
{
    const char *bound_text = side < 0 ? row->min : row->max;
    struct conf_cell bound = {0};

    return bound_text != NULL && conf_cell_parse(row, bound_text, &bound) &&
           compare_cells(row, cell, &bound) == side;
}
