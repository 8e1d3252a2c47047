/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * bench: one plugin of the build folder under one config, with one state, for tests that feed it
 * and look at what it renders. PLUGINS is the folder.
 * Memory: a bench owns all that is in it. What a function returns as text is good until its next
 * call.
 */
#include <inttypes.h>
#include <stdio.h>

#include "aggregate.h"
#include "base/text.h"

#define S INT64_C(1000000000) /* a second in ns */
#define T0 (1700000000 * S)

/* A plugin under a config, with one state. */
struct bench {
    struct plugin *plugin;
    void *config;
    void *state;
    struct points points;
};

/* Loads a plugin of the build folder. */
static inline struct plugin *load(const char *name)
{
    char path[4096];
    struct rasad_error error;
    struct plugin *plugin;

    (void)snprintf(path, sizeof path, "%s/%s.so", PLUGINS, name);
    if (!plugin_open(path, name, &plugin, &error))
        fail_msg("%s", error.text);
    return plugin;
}

/* A further fresh state; the caller's to free. */
static inline void *bench_state(struct bench *bench)
{
    void *state = malloc(bench->plugin->api.state_size(bench->config));

    assert_non_null(state);
    bench->plugin->api.init(bench->config, state);
    return state;
}

/* A bench under these settings, the presets for the rest. */
static inline struct bench *bench_new(const char *name, const struct setting *settings)
{
    struct bench *bench = calloc(1, sizeof *bench);
    struct rasad_error error;

    assert_non_null(bench);
    bench->plugin = load(name);
    if (!aggregate_configure(&bench->plugin->api, settings, &bench->config, &error))
        fail_msg("%s", error.text);
    bench->state = bench_state(bench);
    return bench;
}

/* Ends a bench and all that belongs to it. */
static inline void bench_free(struct bench *bench)
{
    free(bench->state);
    aggregate_release(&bench->plugin->api, bench->config);
    plugin_unref(bench->plugin);
    free(bench);
}

/* Takes a sample; NULL, or why it was refused (until the next call). */
static inline const char *bench_take(struct bench *bench, struct rasad_value value)
{
    static struct rasad_error error;

    return bench->plugin->api.update(bench->config, bench->state, &value, &error) ? NULL
                                                                                  : error.text;
}

/* Takes a text, likewise. */
static inline const char *bench_text(struct bench *bench, const char *text)
{
    return bench_take(bench, value_text(text, strlen(text), T0));
}

/* What the state renders, such as "0.5:3 sum 10 count 4" or "value=a 3 value=b 1"; until the next
 * call. */
static inline const char *bench_render(struct bench *bench, int64_t now_ns)
{
    static struct text line;

    text_clear(&line);
    points_render(&bench->points, &bench->plugin->api, bench->config, bench->state, now_ns);
    for (size_t i = 0; i < bench->points.count; i++) {
        const struct rasad_point *p = &bench->points.at[i];

        text_add_string(&line, i > 0 ? " " : "");
        if (p->type == RASAD_POINT_LABEL)
            text_printf(&line, "%s=%s", p->label.name, p->label.value);
        else if (p->type == RASAD_POINT_BUCKET)
            text_printf(&line, "%g:%" PRIu64, p->bound, p->count);
        else if (p->type == RASAD_POINT_QUANTILE)
            text_printf(&line, "%g:%.4g", p->bound, p->value);
        else if (p->type == RASAD_POINT_TOTALS)
            text_printf(&line, "sum %.17g count %" PRIu64, p->value, p->count);
        else if (p->whole != 0)
            text_printf(&line, "%" PRIu64, p->count);
        else
            text_printf(&line, "%.17g", p->value);
    }
    return text_end(&line);
}

/* A letter for the type ('=' sets, '+' changes), the number, and the second it was taken in. */
struct step {
    char type;
    double number;
    int64_t second;
};

/* Feeds steps, of which none is refused, up to one of type 0. */
static inline void bench_feed(struct bench *bench, const struct step *steps, size_t count)
{
    for (size_t i = 0; i < count && steps[i].type != 0; i++)
        assert_null(
            bench_take(bench, value_number(steps[i].type == '+' ? RASAD_CHANGE : RASAD_NUMBER,
                                           steps[i].number, T0 + steps[i].second * S)));
}
