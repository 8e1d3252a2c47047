/* SPDX-License-Identifier: Apache-2.0 */
#include "exporter/points.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"

/* What a smaller struct of an older plugin lacks is zero. */
static struct rasad_point read_point(const struct rasad_point *point)
{
    struct rasad_point whole = {0};

    memcpy(&whole, point, point->size < sizeof whole ? point->size : sizeof whole);
    return whole;
}

static void add_label(struct point_set *set, struct point *point, const struct rasad_label *label)
{
    if (label->name == NULL || label->value == NULL) {
        set->failed = true;
        return;
    }
    point->label_name = set->labels.length;
    text_add(&set->labels, label->name, strlen(label->name) + 1);
    point->label_value = set->labels.length;
    point->label_value_length = strlen(label->value);
    text_add_string(&set->labels, label->value);
}

static bool make_room(struct point_set *set)
{
    size_t capacity = set->capacity == 0 ? 32 : set->capacity * 2;
    struct point *grown;

    if (set->count < set->capacity)
        return true;
    if (set->count == POINTS_MAX) {
        set->failed = true;
        return false;
    }
    grown = reallocarray(set->at, capacity, sizeof *grown);
    if (grown == NULL) {
        set->failed = true;
        return false;
    }
    set->at = grown;
    set->capacity = capacity;
    return true;
}

static void write_point(struct rasad_writer *writer, const struct rasad_point *theirs)
{
    struct point_set *set = (struct point_set *)writer;
    struct rasad_point point = read_point(theirs);

    if (set->failed || !make_room(set))
        return;
    set->at[set->count] = (struct point){
        .type = point.type,
        .whole = point.whole != 0,
        .value = point.value,
        .bound = point.bound,
        .count = point.count,
    };
    if (point.type == RASAD_POINT_LABEL)
        add_label(set, &set->at[set->count], &point.label);
    set->failed |= set->labels.failed;
    set->count++;
}

struct point_set point_set_make(void)
{
    return (struct point_set){
        .writer = {.size = sizeof(struct rasad_writer), .write = write_point}};
}

void point_set_free(struct point_set *set)
{
    free(set->at);
    text_free(&set->labels);
    *set = (struct point_set){0};
}

void point_set_clear(struct point_set *set, int64_t now_ns)
{
    set->count = 0;
    set->failed = false;
    text_clear(&set->labels);
    set->writer.now_ns = now_ns;
}

static bool is_value(const struct point *at, size_t count, uint32_t type)
{
    if (count != 1 || at->type != type)
        return false;
    return type == RASAD_POINT_GAUGE || at->value >= 0;
}

/* Whether a bucket or quantile may stand behind the one before it (NULL for the first). */
static bool follows(const struct point *point, const struct point *before)
{
    if (isnan(point->bound) || (before != NULL && point->bound <= before->bound))
        return false;
    if (point->type == RASAD_POINT_QUANTILE)
        return point->bound >= 0 && point->bound <= 1;
    return before == NULL || point->count >= before->count;
}

/* Buckets (and a native histogram), or quantiles, and then the totals, which the last bucket may
 * not exceed, and must equal if it is +Inf. */
static bool is_distribution(const struct point *at, size_t count, uint32_t type)
{
    const struct point *totals = &at[count - 1], *before = NULL;

    if (totals->type != RASAD_POINT_TOTALS)
        return false;
    for (size_t i = 0; i + 1 < count; i++) {
        if (at[i].type == RASAD_POINT_NATIVE && type == RASAD_POINT_BUCKET)
            continue; /* text formats have no room for it */
        if (at[i].type != type || !follows(&at[i], before))
            return false;
        before = &at[i];
    }
    if (before == NULL || type != RASAD_POINT_BUCKET)
        return true;
    return before->bound == (double)INFINITY ? before->count == totals->count
                                             : before->count <= totals->count;
}

static bool is_group(const struct point *at, size_t count, uint32_t kind)
{
    switch (kind) {
    case RASAD_GAUGE:
        return is_value(at, count, RASAD_POINT_GAUGE);
    case RASAD_COUNTER:
        return is_value(at, count, RASAD_POINT_COUNTER);
    case RASAD_HISTOGRAM:
        return is_distribution(at, count, RASAD_POINT_BUCKET);
    default:
        return is_distribution(at, count, RASAD_POINT_QUANTILE);
    }
}

/* Whether an earlier sub-series has this one's label. */
static bool is_repeated(const struct point_set *set, size_t i)
{
    const char *texts = set->labels.at;
    const struct point *point = &set->at[i];

    for (size_t k = 0; k < i; k++) {
        const struct point *other = &set->at[k];

        if (other->type == RASAD_POINT_LABEL &&
            strcmp(texts + other->label_name, texts + point->label_name) == 0 &&
            other->label_value_length == point->label_value_length &&
            memcmp(texts + other->label_value, texts + point->label_value,
                   point->label_value_length) == 0)
            return true;
    }
    return false;
}

/* Sub-series' labels come from a plugin: legal, none that a format or the series itself uses, not
 * empty, which would be no label, and each but once. */
static bool is_label(const struct point_set *set, size_t i, const struct text *taken)
{
    const struct point *point = &set->at[i];
    const char *name = set->labels.at + point->label_name;

    if (name[strspn(name, "abcdefghijklmnopqrstuvwxyz"
                          "ABCDEFGHIJKLMNOPQRSTUVWXYZ_0123456789")] != '\0' ||
        name[0] == '\0' || (name[0] >= '0' && name[0] <= '9') || name[0] == '_' ||
        strcmp(name, "le") == 0 || strcmp(name, "quantile") == 0)
        return false;
    for (size_t at = 0; at < taken->length; at += strlen(taken->at + at) + 1) {
        if (strcmp(taken->at + at, name) == 0)
            return false;
    }
    return point->label_value_length > 0 &&
           utf8_valid(set->labels.at + point->label_value, point->label_value_length) &&
           !is_repeated(set, i);
}

bool point_set_fits(const struct point_set *set, uint32_t kind, const struct text *taken)
{
    size_t start = 0;

    if (set->failed)
        return false;
    for (size_t i = 0; i <= set->count; i++) {
        bool label = i < set->count && set->at[i].type == RASAD_POINT_LABEL;

        if (i < set->count && !label)
            continue;
        if (i > start && !is_group(&set->at[start], i - start, kind))
            return false;
        if (label && !is_label(set, i, taken))
            return false;
        start = i + 1;
    }
    return true;
}
