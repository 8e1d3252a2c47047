/* SPDX-License-Identifier: Apache-2.0 */
#include "exporter/exposition.h"

#include <math.h>
#include <string.h>

#include "base/number.h"

/* HELP escapes backslash and line feed; a label value the double quote as well. */
static void add_escaped(struct text *out, const char *text, size_t length, bool quotes)
{
    size_t plain = 0;

    for (size_t i = 0; i < length; i++) {
        if (text[i] != '\\' && text[i] != '\n' && !(text[i] == '"' && quotes))
            continue;
        text_add(out, text + plain, i - plain);
        text_add_char(out, '\\');
        text_add_char(out, text[i] == '\n' ? 'n' : text[i]);
        plain = i + 1;
    }
    text_add(out, text + plain, length - plain);
}

void exposition_head(struct text *out, const char *name, const char *suffix, const char *type,
                     const char *help)
{
    text_add_string(out, "# HELP ");
    text_add_string(out, name);
    text_add_string(out, suffix);
    text_add_char(out, ' ');
    add_escaped(out, help, strlen(help), false);
    text_add_string(out, "\n# TYPE ");
    text_add_string(out, name);
    text_add_string(out, suffix);
    text_add_char(out, ' ');
    text_add_string(out, type);
    text_add_char(out, '\n');
}

void exposition_label(struct text *labels, const char *name, const char *value, size_t length)
{
    if (labels->length > 0)
        text_add_char(labels, ',');
    text_add_string(labels, name);
    text_add_string(labels, "=\"");
    add_escaped(labels, value, length, true);
    text_add_char(labels, '"');
}

static void add_name(struct text *out, const char *name, const char *suffix,
                     const struct text *labels)
{
    text_add_string(out, name);
    text_add_string(out, suffix);
    if (labels != NULL && labels->length > 0) {
        text_add_char(out, '{');
        text_add(out, labels->at, labels->length);
        text_add_char(out, '}');
    }
    text_add_char(out, ' ');
}

void exposition_number(struct text *out, const char *name, const char *suffix,
                       const struct text *labels, double value)
{
    char number[NUMBER_LENGTH];

    add_name(out, name, suffix, labels);
    text_add(out, number, number_format(value, number));
    text_add_char(out, '\n');
}

void exposition_count(struct text *out, const char *name, const char *suffix,
                      const struct text *labels, uint64_t value)
{
    add_name(out, name, suffix, labels);
    text_add_u64(out, value);
    text_add_char(out, '\n');
}

/* A line with one more label that holds a bound. */
static void add_bound(struct text *out, const char *name, const char *suffix, struct text *labels,
                      const char *label, const struct point *point)
{
    size_t length = labels->length;
    char bound[NUMBER_LENGTH];

    exposition_label(labels, label, bound, number_format(point->bound, bound));
    if (point->type == RASAD_POINT_BUCKET)
        exposition_count(out, name, suffix, labels, point->count);
    else
        exposition_number(out, name, suffix, labels, point->value);
    labels->length = length;
}

/* The +Inf bucket, if the plugin left it to us, and _sum and _count. */
static void add_totals(struct text *out, const char *name, uint32_t kind, struct text *labels,
                       const struct point *totals, const struct point *before)
{
    if (kind == RASAD_HISTOGRAM && (before == NULL || before->type != RASAD_POINT_BUCKET ||
                                    before->bound != (double)INFINITY)) {
        const struct point infinite = {
            .type = RASAD_POINT_BUCKET, .bound = INFINITY, .count = totals->count};

        add_bound(out, name, "_bucket", labels, "le", &infinite);
    }
    exposition_number(out, name, "_sum", labels, totals->value);
    exposition_count(out, name, "_count", labels, totals->count);
}

static void add_point(struct text *out, const char *name, uint32_t kind, struct text *labels,
                      const struct point *point, const struct point *before)
{
    switch (point->type) {
    case RASAD_POINT_GAUGE:
        exposition_number(out, name, "", labels, point->value);
        break;
    case RASAD_POINT_COUNTER:
        if (point->whole)
            exposition_count(out, name, "_total", labels, point->count);
        else
            exposition_number(out, name, "_total", labels, point->value);
        break;
    case RASAD_POINT_BUCKET:
        add_bound(out, name, "_bucket", labels, "le", point);
        break;
    case RASAD_POINT_QUANTILE:
        add_bound(out, name, "", labels, "quantile", point);
        break;
    case RASAD_POINT_TOTALS:
        add_totals(out, name, kind, labels, point, before);
        break;
    default: /* a native histogram has no text form */
        break;
    }
}

/* Makes the labels those of the sub-series that begins with this point. */
static void begin_sub_series(struct text *labels, size_t own, const struct point_set *points,
                             const struct point *label)
{
    labels->length = own;
    exposition_label(labels, points->labels.at + label->label_name,
                     points->labels.at + label->label_value, label->label_value_length);
}

void exposition_series(struct text *out, const char *name, uint32_t kind, struct text *labels,
                       const struct point_set *points)
{
    size_t own = labels->length;

    for (size_t i = 0; i < points->count; i++) {
        const struct point *point = &points->at[i];

        if (point->type == RASAD_POINT_LABEL)
            begin_sub_series(labels, own, points, point);
        else
            add_point(out, name, kind, labels, point, i > 0 ? &points->at[i - 1] : NULL);
    }
    labels->length = own;
}

void exposition_created(struct text *out, const char *name, struct text *labels,
                        const struct point_set *points, double seconds)
{
    size_t own = labels->length;

    for (size_t i = 0; i < points->count; i++) {
        const struct point *point = &points->at[i];

        if (point->type == RASAD_POINT_LABEL)
            begin_sub_series(labels, own, points, point);
        else if (i == 0 || point[-1].type == RASAD_POINT_LABEL)
            exposition_number(out, name, "_created", labels, seconds);
    }
    labels->length = own;
}
