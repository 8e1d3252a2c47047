/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * crossing: families, series and a view at a desk, and their way from one conf, made by hand, to
 * the next, as a reload goes it, but on one thread. Metrics count under a plugin of two versions.
 * Memory: what is made here is the test's own and small; running out of it ends the test, but
 * within crossing_go(), which is what may fail.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "hash.h"
#include "reload/family_next.h"
#include "reload/transition.h"
#include "series.h"
#include "shard.h"
#include "store/store.h"
#include "view.h"

/* Shards: so many unless a test says otherwise, and at most. */
enum { CROSSING_METRICS = 6, CROSSING_LABELS = 3, CROSSING_SHARDS = 2, CROSSING_MOST_SHARDS = 4 };

/* ---- The plugin ---------------------------------------------------------------------------- */

/* A count that version 1 has no stamp with. */
struct counted {
    uint64_t count;
    uint64_t stamp; /* version 2 only: always STAMP */
};

#define STAMP UINT64_C(0x5ca1ab1e)
#define UNLUCKY 13 /* a count that can't be brought over */

static inline size_t count_1_state_size(const void *config)
{
    return sizeof(uint64_t);
}

static inline void count_1_init(const void *config, void *state)
{
    *(uint64_t *)state = 0;
}

static inline size_t count_2_state_size(const void *config)
{
    return sizeof(struct counted);
}

static inline void count_2_init(const void *config, void *state)
{
    *(struct counted *)state = (struct counted){.stamp = STAMP};
}

static inline bool count_update(const void *config, void *state, const struct rasad_value *value,
                                struct rasad_error *error)
{
    *(uint64_t *)state += (uint64_t)value->number;
    return true;
}

static inline void count_merge(const void *config, void *into, const void *from)
{
    *(uint64_t *)into += *(const uint64_t *)from;
}

static inline void count_render(const void *config, const void *state, struct rasad_writer *writer)
{
    rasad_write_count(writer, *(const uint64_t *)state);
}

static inline bool count_migrate(const void *config, uint32_t from_version, const void *from,
                                 size_t size, void *into)
{
    if (size != (from_version == 1 ? sizeof(uint64_t) : sizeof(struct counted)) ||
        *(const uint64_t *)from == UNLUCKY)
        return false;
    *(uint64_t *)into = *(const uint64_t *)from;
    return true;
}

#define COUNT_PLUGIN(its_name, its_kind, its_version, migrates_too)                                \
    {                                                                                              \
        .migrates = (migrates_too),                                                                \
        .api = {                                                                                   \
            .kind = (its_kind),                                                                    \
            .name = (its_name),                                                                    \
            .version = #its_version,                                                               \
            .state_version = (its_version),                                                        \
            .state_size = count_##its_version##_state_size,                                        \
            .init = count_##its_version##_init,                                                    \
            .update = count_update,                                                                \
            .merge = count_merge,                                                                  \
            .render = count_render,                                                                \
            .migrate = (migrates_too) ? count_migrate : NULL,                                      \
        },                                                                                         \
    }

static struct plugin count_1 = COUNT_PLUGIN("count", RASAD_COUNTER, 1, true);
static struct plugin count_2 = COUNT_PLUGIN("count", RASAD_COUNTER, 2, true);
static struct plugin other = COUNT_PLUGIN("other", RASAD_GAUGE, 1, false);

/* ---- Confs --------------------------------------------------------------------------------- */

/* A metric section; what is left out is as most sections have it. */
struct section {
    const char *title;
    struct plugin *plugin; /* default: count_1 */
    const char *name;      /* default: the title, or NULL for a glob */
    const char *labels[CROSSING_LABELS];
    uint64_t max_series, max_families; /* default: 1000 */
};

/* A conf of some sections. */
struct made {
    struct conf conf;
    struct conf_metric metrics[CROSSING_METRICS];
};

static inline void made_metric(const struct section *section, struct conf_metric *metric)
{
    struct rasad_error error;

    *metric = (struct conf_metric){
        .key = (char *)(uintptr_t)section->title,
        .is_glob = strpbrk(section->title, "*?[") != NULL,
        .name = (char *)(uintptr_t)section->name,
        .help = (char *)(uintptr_t) "",
        .labels = (char **)(uintptr_t)section->labels,
        .max_series = section->max_series != 0 ? section->max_series : 1000,
        .max_families = section->max_families != 0 ? section->max_families : 1000,
        .file = (char *)(uintptr_t) "conf",
        .line = 7,
        .aggregate = {.plugin = section->plugin != NULL ? section->plugin : &count_1,
                      .section = (char *)(uintptr_t) "",
                      .shape = (char *)(uintptr_t) ""},
    };
    if (metric->name == NULL && !metric->is_glob)
        metric->name = metric->key;
    while (metric->label_count < CROSSING_LABELS && section->labels[metric->label_count] != NULL)
        metric->label_count++;
    assert_true(aggregate_open(&metric->aggregate, &error));
}

/* A conf of these sections, up to the first without title, which must outlive it. */
static inline struct made *made_new(const struct section *sections)
{
    struct made *made = calloc(1, sizeof *made);

    assert_non_null(made);
    made->conf = (struct conf){.path = (char *)(uintptr_t) "conf",
                               .state_dir = (char *)(uintptr_t) "",
                               .agent_label = (char *)(uintptr_t) "agent",
                               .admin_socket = (char *)(uintptr_t) "",
                               .metrics = made->metrics};
    for (size_t i = 0; i < CROSSING_METRICS && sections[i].title != NULL; i++)
        made_metric(&sections[i], &made->metrics[made->conf.metric_count++]);
    return made;
}

static inline void made_free(struct made *made)
{
    for (size_t i = 0; i < made->conf.metric_count; i++)
        free(made->metrics[i].aggregate.fresh);
    free(made);
}

/* ---- Series -------------------------------------------------------------------------------- */

struct crossing {
    struct made *made; /* the conf that holds; owned */
    struct families families;
    int shard_count;
    struct shard *shards; /* but for what is below they are blank */
    struct agents *agents[CROSSING_MOST_SHARDS];
    struct series_store *stores[CROSSING_MOST_SHARDS];
    struct view view;
    struct sample *sample;
    int64_t now_ns;      /* of the newest sample */
    struct store *store; /* that has its series on disk; lent, or NULL */
    int64_t steady_ns;   /* now, for it */
    struct text shown;
};

static inline struct crossing *crossing_new_with(const struct section *sections, int shard_count)
{
    struct crossing *crossing = calloc(1, sizeof *crossing);
    struct rasad_error error;

    assert_non_null(crossing);
    crossing->made = made_new(sections);
    assert_true(families_open(&crossing->families, &crossing->made->conf, shard_count, &error));
    crossing->shard_count = shard_count;
    crossing->shards = calloc((size_t)shard_count, sizeof *crossing->shards);
    assert_non_null(crossing->shards);
    for (int i = 0; i < shard_count; i++) {
        crossing->shards[i].index = i;
        crossing->agents[i] = &crossing->shards[i].agents;
        crossing->stores[i] = &crossing->shards[i].ingest.store;
        agents_open(crossing->agents[i]);
        series_store_open(crossing->stores[i]);
    }
    view_open(&crossing->view);
    crossing->sample = calloc(1, sizeof *crossing->sample);
    return crossing;
}

static inline struct crossing *crossing_new(const struct section *sections)
{
    return crossing_new_with(sections, CROSSING_SHARDS);
}

static inline void crossing_free(struct crossing *crossing)
{
    view_close(&crossing->view);
    for (int i = 0; i < crossing->shard_count; i++) {
        series_store_close(crossing->stores[i]);
        agents_close(crossing->agents[i]);
    }
    free(crossing->shards);
    families_close(&crossing->families);
    made_free(crossing->made);
    text_free(&crossing->shown);
    free(crossing->sample);
    free(crossing);
}

/* The family of this key, made if a glob takes it; NULL if none does. */
static inline struct family *crossing_family(struct crossing *crossing, const char *key)
{
    size_t length = strlen(key);
    struct family *family =
        families_find_plain(&crossing->families, key, length, hash_bytes(key, length));
    struct rasad_error error;
    enum reject reason;

    return family != NULL ? family
                          : families_find_glob(&crossing->families, key, length, &reason, &error);
}

/* The series that a sample with these labels ("l=x m=y") goes to; NULL if it would be refused. */
static inline struct series *crossing_find(struct crossing *crossing, int shard, const char *key,
                                           const char *agent, const char *labels)
{
    struct family *family = crossing_family(crossing, key);
    struct sample *sample = crossing->sample;
    struct agent *sender =
        agent != NULL ? agents_get(crossing->agents[shard], agent, strlen(agent)) : NULL;
    char names[CROSSING_LABELS][8], values[CROSSING_LABELS][64];
    struct rasad_error error;
    enum reject reason;

    sample->label_count = 0;
    for (int used; sscanf(labels, " %7[a-z]=%63s%n", names[sample->label_count],
                          values[sample->label_count], &used) == 2;
         labels += used) {
        sample->labels[sample->label_count] =
            (struct message_label){.name = names[sample->label_count],
                                   .value = values[sample->label_count],
                                   .length = strlen(values[sample->label_count])};
        sample->label_count++;
    }
    return family == NULL ? NULL
                          : series_get(crossing->stores[shard], family, sender, sample,
                                       crossing->now_ns, &reason, &error);
}

/* Counts so much in a series; NULL: refused. */
static inline struct series *crossing_send(struct crossing *crossing, int shard, const char *key,
                                           const char *agent, const char *labels, uint64_t count)
{
    struct series *series;

    crossing->now_ns++;
    series = crossing_find(crossing, shard, key, agent, labels);
    if (series == NULL)
        return NULL;
    *(uint64_t *)series_state(series) += count;
    series_touch(crossing->stores[shard], series, crossing->now_ns);
    return series;
}

/* Brings all that is new into the view. */
static inline void crossing_publish(struct crossing *crossing)
{
    for (int i = 0; i < crossing->shard_count; i++)
        view_take(&crossing->view, series_cut(crossing->stores[i]));
}

/* ---- The way over -------------------------------------------------------------------------- */

static inline void crossing_commit(struct crossing *crossing, struct families_next *next,
                                   struct transition *transitions)
{
    if (crossing->store != NULL)
        store_end_layouts(crossing->store, &crossing->families, crossing->steady_ns);
    for (uint32_t id = 0; id < families_count(&crossing->families); id++) {
        const struct family *family = families_at(&crossing->families, id);

        if (family == NULL || family->next == NULL || family->next->migrates ||
            family->next->relabels)
            view_drop_family(&crossing->view, id);
    }
    for (int i = 0; i < crossing->shard_count; i++)
        transition_leave(&transitions[i], crossing->stores[i]);
    families_commit(&crossing->families, next);
    for (int i = 0; i < crossing->shard_count; i++) {
        transition_enter(&transitions[i], crossing->stores[i]);
        for (size_t j = 0; j < transitions[i].count; j++) {
            if (transitions[i].at[j].new != NULL)
                view_add(&crossing->view, transitions[i].at[j].new);
        }
        transition_free(&transitions[i]);
    }
}

/* Whatever can fail of a reload, and the rest if it didn't; all has been published. The conf is the
 * crossing's on true only. */
static inline bool crossing_go(struct crossing *crossing, struct made *to, const struct plan *plan,
                               struct rasad_error *error)
{
    struct transition transitions[CROSSING_MOST_SHARDS] = {{.count = 0}};
    struct families_next next;
    int prepared = 0;

    if (!families_prepare(&crossing->families, &to->conf, plan, &next, error))
        return false;
    while (prepared < crossing->shard_count &&
           (!next.moves ||
            transition_prepare(&transitions[prepared], crossing->stores[prepared], error)))
        prepared++;
    if (prepared == crossing->shard_count) {
        crossing_commit(crossing, &next, transitions);
        made_free(crossing->made);
        crossing->made = to;
        return true;
    }
    for (int i = 0; i < prepared; i++)
        transition_abort(&transitions[i]);
    families_abort(&crossing->families, &next);
    return false;
}

/* The whole, from what has happened until now to a conf of these sections; false with the reason.
 */
static inline bool crossing_try(struct crossing *crossing, const struct section *sections,
                                struct rasad_error *error)
{
    struct made *to = made_new(sections);
    struct text report = {0};
    struct plan plan;
    bool fine;

    crossing_publish(crossing);
    if (!plan_make(&crossing->made->conf, &to->conf, &plan, &report))
        fail_msg("no plan: %s", text_end(&report));
    fine = crossing_go(crossing, to, &plan, error);
    plan_free(&plan);
    text_free(&report);
    if (!fine)
        made_free(to);
    return fine;
}

static inline void crossing_to(struct crossing *crossing, const struct section *sections)
{
    struct rasad_error error;

    if (!crossing_try(crossing, sections, &error))
        fail_msg("%s", error.text);
}

/* ---- What there is ------------------------------------------------------------------------- */

static inline int crossing_compare(const void *left, const void *right)
{
    return strcmp(*(char *const *)left, *(char *const *)right);
}

/* "m{agent=a l=x} 5" */
static inline char *crossing_line(const struct series *series, const void *state)
{
    const struct conf_metric *metric = series->family->metric;
    struct text line = {0};
    char *copy;

    text_printf(&line, "%s{%s%s", series->family->name, series->is_overflow ? "overflow" : "",
                series->agent != NULL ? series->agent->name : "");
    for (size_t i = 0; i < metric->label_count; i++) {
        size_t length;
        const char *value = series_label(series, i, &length);

        if (length > 0)
            text_printf(&line, " %s=%.*s", metric->labels[i], (int)length, value);
    }
    text_printf(&line, "} %" PRIu64, *(const uint64_t *)state);
    if (series->family->state_size == sizeof(struct counted))
        assert_true(((const struct counted *)state)->stamp == STAMP);
    copy = strdup(text_end(&line));
    text_free(&line);
    return copy;
}

/* All that the view has published, a line a series and shard, in the order of the alphabet. */
static inline const char *crossing_show(struct crossing *crossing)
{
    size_t count = 0;
    char **lines = calloc(1, sizeof *lines);

    crossing_publish(crossing);
    text_clear(&crossing->shown);
    view_begin(&crossing->view);
    for (uint32_t id = 0; id < families_count(&crossing->families); id++) {
        struct view_family family = view_family(&crossing->view, id);

        lines = reallocarray(lines, count + family.count + 1, sizeof *lines);
        for (size_t i = 0; i < family.count; i++)
            lines[count++] = crossing_line(family.at[i], series_published(family.at[i]));
    }
    view_end(&crossing->view);
    qsort(lines, count, sizeof *lines, crossing_compare);
    for (size_t i = 0; i < count; i++) {
        text_printf(&crossing->shown, "%s%s", i > 0 ? ", " : "", lines[i]);
        free(lines[i]);
    }
    free(lines);
    return text_end(&crossing->shown);
}

static inline void crossing_photo_series(const struct series *series, struct text *photo)
{
    size_t size = sizeof *series + 2 * series->family->state_size + series->labels_size;

    text_add(photo, (const char *)&series, sizeof series);
    text_add(photo, (const char *)series, size);
    if (series->agent != NULL) {
        const uint64_t held[] = {series->agent->references, series->agent->series};

        text_add(photo, (const char *)held, sizeof held);
    }
}

/* Every byte that a reload which came to nothing must have left as it was. */
static inline void crossing_photo(struct crossing *crossing, struct text *photo)
{
    for (uint32_t id = 0; id < families_count(&crossing->families); id++) {
        const struct family *family = families_at(&crossing->families, id);

        if (family == NULL)
            continue;
        assert_null(family->next);
        text_add(photo, (const char *)family, sizeof *family);
        text_add_string(photo, family->name);
        text_add(photo, (const char *)family->counters,
                 (size_t)crossing->shard_count * sizeof *family->counters);
    }
    for (int i = 0; i < crossing->shard_count; i++) {
        const struct series_store *store = crossing->stores[i];
        const struct table_item *item;
        size_t slot = 0;

        while ((item = table_next(&store->table, &slot)) != NULL)
            crossing_photo_series((const struct series *)item, photo);
        for (uint32_t j = 0; j < store->overflow_count; j++) {
            if (store->overflow[j] != NULL)
                crossing_photo_series(store->overflow[j], photo);
        }
    }
    assert_false(photo->failed);
}
