/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench_isolate PLUGIN_FILE NAME OPTIONS: what a sample costs through a plugin that is loaded here
 * and, in turns with it, through the same plugin in a worker's process (isolate.h). One JSON object
 * to standard output: nanoseconds a sample, the best of the rounds, by the size of a batch; and
 * what a series costs to render, one at a time and all at once.
 */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "base/clock.h"
#include "base/conf_scan.h"
#include "base/scoped.h"
#include "conf/conf_plugin.h"
#include "exporter/points.h"
#include "isolate/isolate.h"
#include "isolate/plugin_describe.h"

#define ROUNDS 15
#define SERIES 64
#define RENDERED 4096

static const size_t batches[] = {1, 16, 256};
#define BATCHES (sizeof batches / sizeof *batches)

struct bench {
    struct aggregate direct;
    struct isolate *isolate;
    unsigned char *states;
    size_t stride;
};

static void end(const struct rasad_error *error)
{
    (void)fprintf(stderr, "bench_isolate: %s\n", error->text);
    exit(EX_SOFTWARE);
}

/* Both of the plugin: loaded, and in a process. */
static void open_bench(struct bench *bench, const char *path, const char *name, const char *section)
{
    static const struct rasad_option none[1];
    static struct log log;
    struct isolate_house house = {.log = &log, .lanes = 1};
    struct conf_tree tree = {0};
    struct plugin *loaded, *described;
    struct rasad_option *rows;
    struct rasad_error error = {""};
    size_t count;

    log = log_make(2, NULL);
    if (!plugin_open(path, name, &loaded, &error) || !plugin_take(path, &described, &error) ||
        !plugin_describe(described, name, &error))
        end(&error);
    conf_scan_bytes("conf", section, strlen(section), &tree);
    bench->direct.plugin = loaded;
    if (!conf_plugin_rows(loaded, none, 0, &rows, &count, &error))
        end(&error);
    if (!conf_plugin_configure(&tree, &tree.root.children[0], rows, count, 0, &bench->direct)) {
        (void)rasad_fail(&error, "%s", tree.complaint_count > 0 ? tree.complaints[0].text : "?");
        end(&error);
    }
    if (!isolate_open(described, "bench", section, NS_PER_S, &bench->isolate, &error) ||
        !isolate_begin(bench->isolate, &house, &error))
        end(&error);
    free(rows);
    conf_tree_free(&tree);
    bench->stride = bench->direct.state_size;
    bench->states = calloc(SERIES, bench->stride);
    assert(bench->states != NULL);
    for (size_t i = 0; i < SERIES; i++)
        aggregate_init(&bench->direct, bench->states + i * bench->stride);
}

static struct rasad_value value_of(size_t i)
{
    return (struct rasad_value){.size = sizeof(struct rasad_value),
                                .type = RASAD_NUMBER,
                                .number = (double)(i % 97) / 10,
                                .text = "",
                                .time_ns = INT64_C(1700000000) * NS_PER_S,
                                .seed = i};
}

static double direct_round(const struct bench *bench, size_t samples)
{
    const struct rasad_plugin *api = &bench->direct.plugin->api;
    int64_t start_ns = clock_steady_ns();
    struct rasad_error error;

    for (size_t i = 0; i < samples; i++) {
        struct rasad_value value = value_of(i);

        if (!api->update(bench->direct.config, bench->states + i % SERIES * bench->stride, &value,
                         &error))
            end(&error);
    }
    return (double)(clock_steady_ns() - start_ns) / (double)samples;
}

static double isolated_round(const struct bench *bench, size_t samples, size_t batch)
{
    static struct isolate_sample at[ISOLATE_BATCH];
    int64_t start_ns = clock_steady_ns();

    for (size_t i = 0; i < samples; i += batch) {
        for (size_t k = 0; k < batch; k++)
            at[k] =
                (struct isolate_sample){.state = bench->states + (i + k) % SERIES * bench->stride,
                                        .value = value_of(i + k)};
        isolate_update(bench->isolate, 0, at, batch);
        for (size_t k = 0; k < batch; k++)
            assert(at[k].verdict == ISOLATE_TAKEN);
    }
    return (double)(clock_steady_ns() - start_ns) / (double)samples;
}

static void keep_least(double *least, double cost)
{
    if (*least == 0 || cost < *least)
        *least = cost;
}

/* ---- Rendering ----------------------------------------------------------------------------- */

static struct rasad_writer *begin_series(void *context, size_t i)
{
    point_set_clear(context, 0);
    return &((struct point_set *)context)->writer;
}

static void end_series(void *context, size_t i, bool fine)
{
    assert(fine);
}

/* Nanoseconds a series: one at a time, and all at once. */
static void render_round(const struct bench *bench, double cost[2])
{
    static const void *states[RENDERED];
    static struct isolate_series series[RENDERED];
    struct point_set points = point_set_make();
    const struct isolate_sink sink = {begin_series, end_series, &points};
    int64_t start_ns = clock_steady_ns();

    for (size_t i = 0; i < RENDERED; i++) {
        states[i] = bench->states + i % SERIES * bench->stride;
        series[i] = (struct isolate_series){&states[i], 1};
    }
    for (size_t i = 0; i < RENDERED; i++) {
        point_set_clear(&points, 0);
        if (!isolate_render(bench->isolate, &states[i], 1, &points.writer, NULL))
            abort();
    }
    keep_least(&cost[0], (double)(clock_steady_ns() - start_ns) / RENDERED);
    start_ns = clock_steady_ns();
    isolate_render_all(bench->isolate, series, RENDERED, 0, &sink);
    keep_least(&cost[1], (double)(clock_steady_ns() - start_ns) / RENDERED);
    point_set_free(&points);
}

int main(int argc, char *argv[])
{
    double direct = 0, isolated[BATCHES] = {0}, rendering[2] = {0};
    struct bench bench = {0};
    char section[512];

    if (argc != 4)
        return EX_USAGE;
    (void)snprintf(section, sizeof section, "metric \"bench\" { plugin = \"%s\" %s }", argv[2],
                   argv[3]);
    open_bench(&bench, argv[1], argv[2], section);
    for (int round = 0; round < ROUNDS; round++) {
        keep_least(&direct, direct_round(&bench, 200000));
        for (size_t i = 0; i < BATCHES; i++)
            keep_least(&isolated[i],
                       isolated_round(&bench, batches[i] == 1 ? 4000 : 131072, batches[i]));
        render_round(&bench, rendering);
    }
    (void)printf("{\"state_bytes\": %zu, \"direct\": %.1f", bench.stride, direct);
    for (size_t i = 0; i < BATCHES; i++)
        (void)printf(", \"batch_%zu\": %.1f", batches[i], isolated[i]);
    (void)printf(", \"render_one\": %.1f, \"render_all\": %.1f}\n", rendering[0], rendering[1]);
    isolate_close(bench.isolate);
    free(bench.states);
    return EXIT_SUCCESS;
}
