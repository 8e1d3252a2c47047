/* SPDX-License-Identifier: Apache-2.0 */
#include "exporter/scrape.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "exporter/exposition.h"
#include "exporter/points.h"
#include "exporter/process.h"
#include "exporter/self.h"
#include "series.h"

static const char *const kind_names[] = {
    [RASAD_GAUGE] = "gauge",
    [RASAD_COUNTER] = "counter",
    [RASAD_HISTOGRAM] = "histogram",
    [RASAD_SUMMARY] = "summary",
};

/* What writing a family works with. */
struct page {
    const struct scrape_source *source;
    struct text *out;
    struct text created; /* lines of the family's _created, which follow */
    struct text labels;
    struct text taken; /* the label names of the family's series, each with its NUL */
    struct point_set points;
    void *merged; /* room for a state */
    size_t merged_size;
    int64_t wall_ns;
    int64_t steady_ns;
};

static void add_labels(struct page *page, const struct series *series)
{
    const struct conf_metric *metric = series->family->metric;

    text_clear(&page->labels);
    if (series->is_overflow) {
        exposition_label(&page->labels, "overflow", "true", 4);
        return;
    }
    if (series->agent != NULL)
        exposition_label(&page->labels, page->source->conf->agent_label, series->agent->name,
                         series->agent->length);
    for (size_t i = 0; i < metric->label_count; i++) {
        size_t length;
        const char *value = series_label(series, i, &length);

        if (length > 0)
            exposition_label(&page->labels, metric->labels[i], value, length);
    }
}

/* Writes a state under page->labels. */
static void add_state(struct page *page, struct family *family, const void *state,
                      int64_t created_ns)
{
    point_set_clear(&page->points, page->wall_ns);
    family->api->render(family->config, state, &page->points.writer);
    if (!point_set_fits(&page->points, family->api->kind, &page->taken)) {
        (void)atomic_fetch_add_explicit(&family->render_errors, 1, memory_order_relaxed);
        return;
    }
    exposition_series(page->out, family->name, family->api->kind, &page->labels, &page->points);
    if (family->api->kind != RASAD_GAUGE && page->points.count > 0)
        exposition_number(&page->created, family->name, "_created", &page->labels,
                          clock_seconds(created_ns));
}

/* A gauge says how things are; of an agent long gone it would say how they were. */
static bool is_stale(const struct page *page, const struct series *series)
{
    const struct agent *agent = series->agent;
    int64_t gone_ns;

    if (page->source->conf->stale_after_ns == 0 || agent == NULL ||
        series->family->api->kind != RASAD_GAUGE ||
        !atomic_load_explicit(&agent->named, memory_order_relaxed))
        return false;
    gone_ns = atomic_load_explicit(&agent->gone_since_ns, memory_order_relaxed);
    return gone_ns != 0 && page->steady_ns - gone_ns >= page->source->conf->stale_after_ns;
}

/* By what makes states of several shards one series. */
static int compare_shared(const void *a, const void *b)
{
    const struct series *one = *(struct series *const *)a, *other = *(struct series *const *)b;

    if (one->is_overflow != other->is_overflow)
        return one->is_overflow ? 1 : -1;
    if (one->labels_size != other->labels_size)
        return one->labels_size < other->labels_size ? -1 : 1;
    return memcmp(series_labels(one), series_labels(other), one->labels_size);
}

static bool reserve_state(struct page *page, size_t size)
{
    void *grown;

    if (size <= page->merged_size)
        return true;
    grown = realloc(page->merged, size);
    if (grown == NULL) {
        page->out->failed = true;
        return false;
    }
    page->merged = grown;
    page->merged_size = size;
    return true;
}

/* Series [first, end) are one. */
static void add_merged(struct page *page, struct series *const *first, struct series *const *end)
{
    struct family *family = (*first)->family;
    int64_t created_ns = (*first)->created_ns;

    if (!reserve_state(page, family->state_size))
        return;
    memcpy(page->merged, series_published(*first), family->state_size);
    for (struct series *const *next = first + 1; next < end; next++) {
        family->api->merge(family->config, page->merged, series_published(*next));
        if ((*next)->created_ns < created_ns)
            created_ns = (*next)->created_ns;
    }
    add_labels(page, *first);
    add_state(page, family, page->merged, created_ns);
}

/* The series that shards share: they carry no agent. */
static void add_shared(struct page *page, struct series **shared, size_t count)
{
    size_t first = 0;

    qsort(shared, count, sizeof(struct series *), compare_shared);
    for (size_t i = 1; i <= count; i++) {
        if (i < count && compare_shared(&shared[first], &shared[i]) == 0)
            continue;
        add_merged(page, shared + first, shared + i);
        first = i;
    }
}

static void add_all_series(struct page *page, const struct view_family *family)
{
    struct series **shared = NULL;
    size_t shared_count = 0;

    for (size_t i = 0; i < family->count; i++) {
        struct series *series = family->at[i];

        if (series->agent == NULL) {
            shared_count++;
        } else if (!is_stale(page, series)) {
            add_labels(page, series);
            add_state(page, series->family, series_published(series), series->created_ns);
        }
    }
    if (shared_count == 0)
        return;
    shared = malloc(shared_count * sizeof(struct series *));
    if (shared == NULL) {
        page->out->failed = true;
        return;
    }
    shared_count = 0;
    for (size_t i = 0; i < family->count; i++) {
        if (family->at[i]->agent == NULL)
            shared[shared_count++] = family->at[i];
    }
    add_shared(page, shared, shared_count);
    free(shared);
}

/* A family whose only series has no labels is shown from the start, with a fresh state. */
static void add_fresh(struct page *page, struct family *family)
{
    if (!reserve_state(page, family->state_size))
        return;
    memset(page->merged, 0, family->state_size);
    family->api->init(family->config, page->merged);
    text_clear(&page->labels);
    add_state(page, family, page->merged, page->source->start_ns);
}

/* The label names that a plugin's sub-series must not use again. */
static void set_taken(struct page *page, const struct conf_metric *metric)
{
    const char *agent_label = page->source->conf->agent_label;

    text_clear(&page->taken);
    text_add(&page->taken, "overflow", sizeof "overflow");
    if (agent_label[0] != '\0')
        text_add(&page->taken, agent_label, strlen(agent_label) + 1);
    for (size_t i = 0; i < metric->label_count; i++)
        text_add(&page->taken, metric->labels[i], strlen(metric->labels[i]) + 1);
}

/* Writes the family's lines, and those of its _created family into page->created. */
static void add_lines(struct page *page, struct family *family, const struct view_family *series)
{
    const struct conf_metric *metric = family->metric;

    if (series->count > 0)
        add_all_series(page, series);
    else if (page->source->conf->agent_label[0] == '\0' && metric->label_count == 0 &&
             !metric->is_glob && metric->expire_ns == 0)
        add_fresh(page, family);
}

static void add_family(struct page *page, struct family *family, const struct filter *filter)
{
    struct view_family series = view_family(page->source->view, family->id);
    size_t start = page->out->length, body;

    text_clear(&page->created);
    set_taken(page, family->metric);
    exposition_head(page->out, family->name, family->api->kind == RASAD_COUNTER ? "_total" : "",
                    kind_names[family->api->kind], family->metric->help);
    body = page->out->length;
    add_lines(page, family, &series);
    if (page->out->length == body || !filter_wants(filter, family->name))
        page->out->length = start; /* it has nothing to show, or nobody wants to see it */
    if (page->created.length > 0 && filter_wants_created(filter, family->name)) {
        exposition_head(page->out, family->name, "_created", "gauge",
                        "When the series began, in seconds since 1970.");
        text_add(page->out, page->created.at, page->created.length);
    }
    page->out->failed |= page->created.failed || page->labels.failed || page->taken.failed;
}

static void add_families(struct page *page, const struct filter *filter)
{
    uint32_t count = families_count(page->source->families);

    view_begin(page->source->view);
    for (uint32_t id = 0; id < count; id++) {
        struct family *family = families_at(page->source->families, id);

        if (filter_wants(filter, family->name) || filter_wants_created(filter, family->name))
            add_family(page, family, filter);
    }
    view_end(page->source->view);
}

void scrape_write(struct scrape_source *source, const struct filter *filter, struct text *out)
{
    int64_t start_ns = clock_steady_ns();
    struct page page = {.source = source, .out = out, .points = point_set_make()};

    (void)publisher_refresh(source->publisher);
    page.steady_ns = clock_steady_ns();
    page.wall_ns = clock_wall_ns();
    add_families(&page, filter);
    self_metrics(source, filter, out);
    process_metrics(out, filter);
    text_free(&page.created);
    text_free(&page.labels);
    text_free(&page.taken);
    point_set_free(&page.points);
    free(page.merged);
    timing_add(&source->took, clock_steady_ns() - start_ns);
}
