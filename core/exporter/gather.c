/* SPDX-License-Identifier: Apache-2.0 */
#include "exporter/gather.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "crash.h"
#include "exporter/exposition.h"
#include "exporter/gather_queue.h"

struct gather gather_make(void)
{
    return (struct gather){
        .points = point_set_make(),
        .wall_ns = clock_wall_ns(),
        .steady_ns = clock_steady_ns(),
    };
}

void gather_free(struct gather *gather)
{
    text_free(&gather->labels);
    text_free(&gather->taken);
    point_set_free(&gather->points);
    free(gather->queue);
    gather->queue = NULL;
    free(gather->merged);
    gather->merged = NULL;
}

void gather_labels(struct text *labels, const struct series *series, const char *agent_label)
{
    const struct conf_metric *metric = series->family->metric;

    if (series->is_overflow) {
        exposition_label(labels, "overflow", "true", 4);
        return;
    }
    if (series->agent != NULL)
        exposition_label(labels, agent_label, series->agent->name, series->agent->length);
    for (size_t i = 0; i < metric->label_count; i++) {
        size_t length;
        const char *value = series_label(series, i, &length);

        if (length > 0)
            exposition_label(labels, metric->labels[i], value, length);
    }
}

void gather_name(struct text *out, const struct family *family, const struct text *labels)
{
    text_add_string(out, family->name);
    if (family->api->kind == RASAD_COUNTER)
        text_add_string(out, "_total");
    if (labels->length == 0)
        return;
    text_add_char(out, '{');
    text_add(out, labels->at, labels->length);
    text_add_char(out, '}');
}

static void leave_out(struct family *family)
{
    (void)atomic_fetch_add_explicit(&family->render_errors, 1, memory_order_relaxed);
}

/* Hands a series on whose points are there. */
static void hand_on(struct gather *gather, struct gathered *gathered)
{
    struct family *family = gathered->family;

    text_clear(&gather->labels);
    if (gathered->series != NULL)
        gather_labels(&gather->labels, gathered->series, gather->conf->agent_label);
    if (!point_set_fits(&gather->points, family->api->kind, &gather->taken)) {
        leave_out(family);
        return;
    }
    gathered->labels = &gather->labels;
    gathered->points = &gather->points;
    gather->take(gather->context, gathered);
    gather->failed |= gather->labels.failed;
}

/* Renders a state and hands it on. */
static void render(struct gather *gather, struct gathered *gathered, const void *state)
{
    if (gather->queue != NULL && gather->queue->isolate != NULL) {
        gather_queue_add(gather->queue, gathered, &state, 1);
        return;
    }
    point_set_clear(&gather->points, gather->wall_ns);
    if (aggregate_render(gathered->family->aggregate, state, &gather->points.writer))
        hand_on(gather, gathered);
    else
        leave_out(gathered->family);
}

/* Lets what is gathered of the family go through the queue if its plugin runs isolated. */
static void set_queue(struct gather *gather, const struct family *family)
{
    struct isolate *isolate = family->aggregate->isolate;

    if (isolate != NULL && gather->queue == NULL)
        gather->queue = calloc(1, sizeof *gather->queue);
    if (gather->queue == NULL) /* one at a time will do, too */
        return;
    gather->queue->gather = gather;
    gather->queue->isolate = isolate;
    gather->queue->hand_on = hand_on;
}

/* A gauge says how things are; of an agent long gone it would say how they were. */
static bool is_stale(const struct gather *gather, const struct series *series)
{
    const struct agent *agent = series->agent;
    int64_t gone_ns;

    if (gather->conf->stale_after_ns == 0 || agent == NULL ||
        series->family->api->kind != RASAD_GAUGE ||
        !atomic_load_explicit(&agent->named, memory_order_relaxed))
        return false;
    gone_ns = atomic_load_explicit(&agent->gone_since_ns, memory_order_relaxed);
    return gone_ns != 0 && gather->steady_ns - gone_ns >= gather->conf->stale_after_ns;
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

/* At each reading in the same order, so that what an approximate merge() makes of counters that
 * rise rises as well. */
static int compare_places(const void *a, const void *b)
{
    uintptr_t one = (uintptr_t) * (struct series *const *)a;
    uintptr_t other = (uintptr_t) * (struct series *const *)b;
    int order = compare_shared(a, b);

    return order != 0 ? order : (one > other) - (one < other);
}

static bool reserve_state(struct gather *gather, size_t size)
{
    void *grown;

    if (size <= gather->merged_size)
        return true;
    grown = realloc(gather->merged, size);
    if (grown == NULL) {
        gather->failed = true;
        return false;
    }
    gather->merged = grown;
    gather->merged_size = size;
    return true;
}

static int64_t updated_ns(const struct series *series)
{
    return atomic_load_explicit(&series->updated_ns, memory_order_relaxed);
}

/* Merges the states of series [first, end) into gather->merged. */
static bool merge(struct gather *gather, struct series *const *first, struct series *const *end)
{
    struct family *family = (*first)->family;

    if (!reserve_state(gather, family->state_size))
        return false;
    memcpy(gather->merged, series_published(*first), family->state_size);
    for (struct series *const *next = first + 1; next < end; next++) {
        if (aggregate_merge(family->aggregate, gather->merged, series_published(*next), NULL))
            continue;
        leave_out(family);
        return false;
    }
    return true;
}

static void queue_merged(struct gather *gather, const struct gathered *gathered,
                         struct series *const *first, struct series *const *end)
{
    const void *states[GATHER_QUEUE_STATES];
    size_t count = 0;

    for (struct series *const *next = first; next < end; next++)
        states[count++] = series_published(*next);
    gather_queue_add(gather->queue, gathered, states, count);
}

/* Series [first, end) are one. */
static void take_merged(struct gather *gather, struct series *const *first,
                        struct series *const *end)
{
    struct gathered gathered = {.family = (*first)->family,
                                .series = *first,
                                .created_ns = (*first)->created_ns,
                                .updated_ns = updated_ns(*first)};

    for (struct series *const *next = first + 1; next < end; next++) {
        if ((*next)->created_ns < gathered.created_ns)
            gathered.created_ns = (*next)->created_ns;
        if (updated_ns(*next) > gathered.updated_ns)
            gathered.updated_ns = updated_ns(*next);
    }
    if (gather->queue != NULL && gather->queue->isolate != NULL && end - first > 1)
        queue_merged(gather, &gathered, first, end);
    else if (end - first == 1)
        render(gather, &gathered, series_published(*first));
    else if (merge(gather, first, end))
        render(gather, &gathered, gather->merged);
}

/* The series that shards share: they carry no agent. */
static void take_shared(struct gather *gather, struct series **shared, size_t count)
{
    size_t first = 0;

    qsort(shared, count, sizeof(struct series *), compare_places);
    for (size_t i = 1; i <= count; i++) {
        if (i < count && compare_shared(&shared[first], &shared[i]) == 0)
            continue;
        take_merged(gather, shared + first, shared + i);
        first = i;
    }
}

static void take_all(struct gather *gather, const struct view_family *family)
{
    struct series **shared = NULL;
    size_t shared_count = 0;

    for (size_t i = 0; i < family->count; i++) {
        struct series *series = family->at[i];
        struct gathered gathered = {.family = series->family,
                                    .series = series,
                                    .created_ns = series->created_ns,
                                    .updated_ns = updated_ns(series)};

        if (series->agent == NULL)
            shared_count++;
        else if (!is_stale(gather, series))
            render(gather, &gathered, series_published(series));
    }
    if (shared_count == 0)
        return;
    shared = malloc(shared_count * sizeof(struct series *));
    if (shared == NULL) {
        gather->failed = true;
        return;
    }
    shared_count = 0;
    for (size_t i = 0; i < family->count; i++) {
        if (family->at[i]->agent == NULL)
            shared[shared_count++] = family->at[i];
    }
    take_shared(gather, shared, shared_count);
    free(shared);
}

/* A family whose only series has no labels is shown from the start, with a fresh state. */
static void take_fresh(struct gather *gather, struct family *family)
{
    struct gathered gathered = {.family = family, .created_ns = family->since_ns};

    if (!reserve_state(gather, family->state_size))
        return;
    aggregate_init(family->aggregate, gather->merged);
    render(gather, &gathered, gather->merged);
}

/* The label names that a plugin's sub-series must not use again. */
static void set_taken(struct gather *gather, const struct conf_metric *metric)
{
    const char *agent_label = gather->conf->agent_label;

    text_clear(&gather->taken);
    text_add(&gather->taken, "overflow", sizeof "overflow");
    if (agent_label[0] != '\0')
        text_add(&gather->taken, agent_label, strlen(agent_label) + 1);
    for (size_t i = 0; i < metric->label_count; i++)
        text_add(&gather->taken, metric->labels[i], strlen(metric->labels[i]) + 1);
    gather->failed |= gather->taken.failed;
}

/* From here on until crash_leave() the plugin merges and renders on this thread. */
static void enter(const struct family *family)
{
    crash_use_stack();
    crash_place = (struct crash_place){.plugin = NULL};
    if (family->aggregate->isolate == NULL)
        crash_enter(family->api->name, family->name);
}

void gather_family(struct gather *gather, struct family *family)
{
    struct view_family series = view_family(gather->view, family->id);
    const struct conf_metric *metric = family->metric;

    set_taken(gather, metric);
    set_queue(gather, family);
    enter(family);
    if (series.count > 0)
        take_all(gather, &series);
    else if (gather->conf->agent_label[0] == '\0' && metric->label_count == 0 && !metric->is_glob &&
             metric->expire_ns == 0)
        take_fresh(gather, family);
    if (gather->queue != NULL)
        gather_queue_run(gather->queue);
    crash_leave();
}
