/* SPDX-License-Identifier: Apache-2.0 */
/* Whether two states render the same; inside of bench. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "laws/bench.h"

/* How far apart a plugin with RASAD_APPROXIMATE may render, relatively: more than any of them
 * states as its bound. */
#define APPROXIMATE 0.05

static bool is_near(double a, double b, double tolerance)
{
    return a == b || (isnan(a) && isnan(b)) || fabs(a - b) <= tolerance * fmax(fabs(a), fabs(b));
}

static bool is_same_label(const struct point_set *a, const struct point *p,
                          const struct point_set *b, const struct point *q)
{
    return p->label_value_length == q->label_value_length &&
           memcmp(a->labels.at + p->label_value, b->labels.at + q->label_value,
                  p->label_value_length) == 0 &&
           strcmp(a->labels.at + p->label_name, b->labels.at + q->label_name) == 0;
}

static bool is_same_point(const struct point_set *a, const struct point *p,
                          const struct point_set *b, const struct point *q, double tolerance)
{
    if (p->type != q->type || p->whole != q->whole || !is_near(p->bound, q->bound, 0))
        return false;
    if (p->type == RASAD_POINT_LABEL)
        return is_same_label(a, p, b, q);
    return is_near(p->value, q->value, tolerance) &&
           (p->count == q->count || is_near((double)p->count, (double)q->count, tolerance));
}

/* A point for people's eyes. */
static void show_point(const struct point_set *set, const struct point *point, char shown[128])
{
    static const char *const names[] = {"",         "gauge",  "counter", "bucket",
                                        "quantile", "totals", "native",  "label"};
    const char *name = point->type < sizeof names / sizeof *names ? names[point->type] : "?";

    if (point->type == RASAD_POINT_LABEL)
        (void)snprintf(shown, 128, "label %.30s=\"%.*s\"", set->labels.at + point->label_name,
                       (int)(point->label_value_length < 60 ? point->label_value_length : 60),
                       set->labels.at + point->label_value);
    else if (point->type == RASAD_POINT_BUCKET || point->type == RASAD_POINT_QUANTILE)
        (void)snprintf(shown, 128, "%s %g of %.17g (count %llu)", name, point->bound, point->value,
                       (unsigned long long)point->count);
    else
        (void)snprintf(shown, 128, "%s %.17g (count %llu)", name, point->value,
                       (unsigned long long)point->count);
}

void bench_same(struct bench *bench, int block, int other, const char *what)
{
    const struct point_set *a = &bench->points[0], *b = &bench->points[1];
    double tolerance = (bench->api->flags & RASAD_APPROXIMATE) != 0 ? APPROXIMATE : 0;
    char shown[2][128];

    bench_render(bench, block, 0);
    bench_render(bench, other, 1);
    for (size_t i = 0; i < a->count && i < b->count; i++) {
        if (is_same_point(a, &a->at[i], b, &b->at[i], tolerance))
            continue;
        show_point(a, &a->at[i], shown[0]);
        show_point(b, &b->at[i], shown[1]);
        bench_fail(bench, -1, "point %zu is %s, but %s: %s", i + 1, shown[0], what, shown[1]);
    }
    bench_require(bench, a->count == b->count, "there are %zu points, but %s: %zu", a->count, what,
                  b->count);
}
