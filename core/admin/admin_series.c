/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "admin/admin_show.h"
#include "admin/json_add.h"
#include "admin/selector.h"
#include "base/clock.h"
#include "base/scoped.h"
#include "exporter/exposition.h"
#include "exporter/gather.h"
#include "server.h"

/* What showing the series works with. */
struct series_show {
    struct selector selector;
    const char *agent; /* only of this one; NULL: of all */
    const char *agent_label;
    int64_t steady_ns;
    struct text *out;
    struct text name;  /* of the series at hand: without the agent */
    struct text other; /* its labels, but for the agent's */
};

static void series_show_free(struct series_show *show)
{
    selector_free(&show->selector);
    text_free(&show->name);
    text_free(&show->other);
}

/* Makes show->name the name of a series with these labels, of which the agent's is the first and
 * has a column of its own. */
static void make_name(struct series_show *show, const struct gathered *gathered)
{
    const struct agent *agent = gathered->series != NULL ? gathered->series->agent : NULL;
    const struct text *labels = gathered->labels;
    size_t own = 0;

    text_clear(&show->other);
    text_clear(&show->name);
    if (agent != NULL) { /* as gather_labels() writes it */
        exposition_label(&show->other, show->agent_label, agent->name, agent->length);
        own = show->other.length + (labels->length > show->other.length ? 1 : 0);
        text_clear(&show->other);
    }
    text_add(&show->other, labels->at + own, labels->length - own);
    gather_name(&show->name, gathered->family, &show->other);
}

static void add_labels(struct series_show *show, const struct gathered *gathered,
                       const struct point *sub_series)
{
    const struct series *series = gathered->series;
    const struct conf_metric *metric = gathered->family->metric;
    const char *texts = gathered->points->labels.at;
    struct text *out = show->out;

    json_add_open(out, "labels", '{');
    if (series != NULL && series->is_overflow)
        json_add_string(out, "overflow", "true");
    if (series != NULL && series->agent != NULL)
        json_add_bytes(out, show->agent_label, series->agent->name, series->agent->length);
    for (size_t i = 0; series != NULL && !series->is_overflow && i < metric->label_count; i++) {
        size_t length;
        const char *value = series_label(series, i, &length);

        if (length > 0)
            json_add_bytes(out, metric->labels[i], value, length);
    }
    if (sub_series != NULL)
        json_add_bytes(out, texts + sub_series->label_name, texts + sub_series->label_value,
                       sub_series->label_value_length);
    json_add_close(out, '}');
}

/* [bound, number] of each bucket or quantile among the points. */
static void add_pairs(struct text *out, const char *name, uint32_t type, const struct point *points,
                      size_t count)
{
    json_add_open(out, name, '[');
    for (size_t i = 0; i < count; i++) {
        if (points[i].type != type)
            continue;
        json_add_open(out, NULL, '[');
        json_add_number(out, NULL, points[i].bound);
        if (type == RASAD_POINT_BUCKET)
            json_add_count(out, NULL, points[i].count);
        else
            json_add_number(out, NULL, points[i].value);
        json_add_close(out, ']');
    }
    json_add_close(out, ']');
}

/* The points of one series or sub-series: one value, or a distribution that totals end. */
static void add_value(struct text *out, uint32_t kind, const struct point *points, size_t count)
{
    const struct point *last = &points[count - 1];

    if (last->type == RASAD_POINT_TOTALS) {
        json_add_count(out, "count", last->count);
        json_add_number(out, "sum", last->value);
        if (kind == RASAD_HISTOGRAM)
            add_pairs(out, "buckets", RASAD_POINT_BUCKET, points, count);
        else
            add_pairs(out, "quantiles", RASAD_POINT_QUANTILE, points, count);
    } else if (last->whole) {
        json_add_count(out, "value", last->count);
    } else {
        json_add_number(out, "value", last->value);
    }
}

/* One row: the points of a series, or of its sub-series. */
static void add_row(struct series_show *show, const struct gathered *gathered,
                    const struct point *sub_series, const struct point *points, size_t count)
{
    static const char *const kinds[] = {
        [RASAD_GAUGE] = "gauge",
        [RASAD_COUNTER] = "counter",
        [RASAD_HISTOGRAM] = "histogram",
        [RASAD_SUMMARY] = "summary",
    };
    const struct agent *agent = gathered->series != NULL ? gathered->series->agent : NULL;
    uint32_t kind = gathered->family->api->kind;
    struct text *out = show->out;

    if (count == 0 ||
        !selector_wants_labels(&show->selector, gathered->labels->at, gathered->labels->length))
        return;
    make_name(show, gathered);
    json_add_open(out, NULL, '{');
    json_add_bytes(out, "series", show->name.at, show->name.length);
    json_add_string(out, "metric", gathered->family->name);
    json_add_string(out, "kind", kinds[kind]);
    json_add_string(out, "agent", agent != NULL ? agent->name : NULL);
    add_labels(show, gathered, sub_series);
    add_value(out, kind, points, count);
    json_add_number(out, "created", clock_seconds(gathered->created_ns));
    if (gathered->updated_ns != 0)
        json_add_number(out, "age_seconds", clock_seconds(show->steady_ns - gathered->updated_ns));
    json_add_close(out, '}');
    out->failed |= show->name.failed || show->other.failed;
}

static void take_series(void *context, const struct gathered *gathered)
{
    struct series_show *show = context;
    const struct point_set *set = gathered->points;
    const struct agent *agent = gathered->series != NULL ? gathered->series->agent : NULL;
    const struct point *sub_series = NULL;
    size_t own = gathered->labels->length, start = 0;

    if (show->agent != NULL && (agent == NULL || strcmp(agent->name, show->agent) != 0))
        return;
    for (size_t i = 0; i <= set->count; i++) {
        if (i < set->count && set->at[i].type != RASAD_POINT_LABEL)
            continue;
        add_row(show, gathered, sub_series, set->at + start, i - start);
        if (i == set->count)
            break;
        sub_series = &set->at[i];
        gathered->labels->length = own;
        exposition_label(gathered->labels, set->labels.at + sub_series->label_name,
                         set->labels.at + sub_series->label_value, sub_series->label_value_length);
        start = i + 1;
    }
    gathered->labels->length = own;
}

bool admin_show_series(struct server *server, const struct admin_request *request, struct text *out,
                       struct rasad_error *error)
{
    SCOPED(series_show_free)
    struct series_show show = {
        .out = out, .agent = request->agent, .agent_label = server->conf->agent_label};
    struct gather gather;

    if (!selector_parse(request->selector, &show.selector, error))
        return rasad_fail_at(error, "selector \"%.200s\"", request->selector);
    gather = gather_make();
    gather.conf = server->conf;
    gather.view = &server->view;
    gather.take = take_series;
    gather.context = &show;
    show.steady_ns = gather.steady_ns;
    json_add_open(out, "data", '[');
    for (uint32_t id = 0; id < families_count(&server->families); id++) {
        struct family *family = families_at(&server->families, id);

        if (family != NULL && selector_wants_family(&show.selector, family->name))
            gather_family(&gather, family);
    }
    json_add_close(out, ']');
    out->failed |= gather.failed;
    gather_free(&gather);
    return true;
}
