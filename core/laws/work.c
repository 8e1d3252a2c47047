/* SPDX-License-Identifier: Apache-2.0 */
#include "laws/work.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/conf_values.h"
#include "base/scoped.h"
#include "laws/table.h"

#define MIN(a, b) ((a) < (b) ? (a) : (b))
#define MAX(a, b) ((a) > (b) ? (a) : (b))

/* When no further case is begun, so that a slow machine tries less, and only what hangs is ended.
 */
#define CASES_NS (3 * NS_PER_S)
#define QUICK_NS (1 * NS_PER_S)

/* How long update() is measured, for each type. */
#define MEASURE_NS (30 * NS_PER_MS)

enum {
    LEAST_CASES = 6,    /* under one conf, however large they are */
    SMALL_STATE = 4096, /* bytes */
    CONF_TRIES = 240,
    QUICK_CONFS = 2,
    QUICK_TRIES = 12,
    QUICK_CASES = 4,
    QUICK_SAMPLES = 16, /* the most of a case */
};

/* What every law is watched for when there is no time for each by itself. */
#define WATCH_QUICKLY (WATCH_GLOBALS | WATCH_CALLS | WATCH_HEAP | WATCH_OUTSIDE | WATCH_LENT)

static __attribute__((noreturn)) void hold(struct slate *slate)
{
    slate->outcome = LAW_HOLDS;
    _exit(EXIT_SUCCESS);
}

/* Puts the conf of this seed on the slate: the statements that are given, and drawn ones. */
static void draw_conf_for(const struct check *check, uint64_t which,
                          const struct rasad_option *rows)
{
    size_t count = check->plugin->api.option_count;
    SCOPED(conf_tree_free) struct conf_tree tree = {0};
    SCOPED(text_free) struct text given = {0};
    SCOPED(text_free) struct text conf = {0};

    for (size_t i = 0; i < check->options->setting_count; i++)
        text_printf(&conf, "%s\n", check->options->settings[i]);
    text_printf(&given, "metric \"law\" {\n%s}\n", text_end(&conf));
    conf_scan_bytes("given", given.at, given.length, &tree);
    draw_conf(draw_seed(check->options->seed, which), rows, count, which == 0,
              conf_find(&tree.root, "metric"), &conf);
    (void)snprintf(check->slate->conf, sizeof check->slate->conf, "%s", text_end(&conf));
}

static struct rasad_option *copy_rows(const struct plugin *plugin)
{
    size_t count = plugin->api.option_count;
    struct rasad_option *rows = calloc(count + 1, sizeof *rows);

    for (size_t i = 0; rows != NULL && i < count; i++)
        rows[i] = plugin_option(plugin, i);
    return rows;
}

/* The seeds of confs that configure() takes. The first conf has the presets only, where there are
 * some; who declares them must take them. */
static void find_confs(const struct check *check, struct bench *bench, struct rasad_option *rows)
{
    struct slate *slate = check->slate;
    size_t count = check->plugin->api.option_count;
    size_t wanted = count == 0 ? 1 : check->quickly ? QUICK_CONFS : SLATE_CONFS;
    size_t most = check->quickly ? QUICK_TRIES : CONF_TRIES;
    bool all_preset = check->options->setting_count == 0;
    struct rasad_error error = {""};
    void *config = NULL;

    for (size_t i = 0; i < count; i++)
        all_preset = all_preset && rows[i].preset != NULL;
    slate->conf_count = 0;
    slate->confs_tried = 0;
    while (slate->conf_count < wanted && slate->confs_tried < most) {
        uint64_t which = slate->confs_tried++;

        draw_conf_for(check, which, rows);
        error.text[0] = '\0';
        slate->call = CALL_CONFIGURE;
        if (bench_configure(check->plugin, slate->conf, false, &config, &error)) {
            slate->confs[slate->conf_count++] = which;
            slate->call = CALL_RELEASE;
            if (check->plugin->api.release != NULL && config != NULL)
                check->plugin->api.release(config);
        }
        slate->call = CALL_NONE;
        bench_require(bench, slate->conf_count > 0 || which > 0 || !all_preset,
                      "configure() refuses the presets: %s", error.text);
        bench_require(bench, slate->conf_count > 0 || error.text[0] != '\0',
                      "configure() refuses a conf and gives no reason");
    }
    bench_require(bench, slate->conf_count > 0,
                  "configure() refuses all of %zu random confs, the last one because: %s (give it "
                  "what it needs with --option 'NAME = VALUE')",
                  slate->confs_tried, error.text);
}

void work_confs(void *context)
{
    const struct check *check = context;
    struct bench bench = {.plugin = check->plugin,
                          .api = &check->plugin->api,
                          .options = check->options,
                          .slate = check->slate,
                          .guard = {.slate = check->slate}};
    struct rasad_option *rows = copy_rows(check->plugin);
    struct rasad_error error;

    guard_signals(&bench.guard);
    check->slate->law = LAW_CONFS;
    bench_require(&bench, rows != NULL, "there is no memory for the check");
    bench_require(&bench, conf_check_rows(rows, check->plugin->api.option_count, &error), "%s",
                  error.text);
    find_confs(check, &bench, rows);
    if (check->quickly && check->plugin->module.handle != NULL)
        law_imports(&bench); /* which no guard would let pass later */
    hold(check->slate);
}

/* Tries a law with so many random cases, as long as there is time. */
static void try_cases(const struct check *check, struct bench *bench, unsigned law, uint64_t cases,
                      int64_t end_ns)
{
    struct slate *slate = check->slate;
    uint64_t seed = draw_seed(check->options->seed, check->conf * LAW_COUNT + law + 1);

    slate->law = law;
    for (uint64_t i = 0; i < cases && clock_steady_ns() < end_ns; i++) {
        if (check->given != NULL)
            slate->at = *check->given;
        else
            draw_case(draw_seed(seed, i), laws_all[law].draws, MAX(laws_all[law].parts, 1),
                      &slate->at);
        if (check->quickly)
            slate->at.count = MIN(slate->at.count, QUICK_SAMPLES);
        laws_all[law].run(bench);
        slate->cases++;
    }
}

/* Makes the bench under check->conf. */
static void open_bench(const struct check *check, struct bench *bench, unsigned watch)
{
    struct rasad_option *rows = copy_rows(check->plugin);

    *bench =
        (struct bench){.plugin = check->plugin, .options = check->options, .slate = check->slate};
    if (rows == NULL)
        _exit(EXIT_FAILURE);
    draw_conf_for(check, check->conf, rows);
    free(rows);
    bench_open(bench, watch);
}

/* While a case is made smaller, what the plugin has to say was said before. */
static void hush(void)
{
    int nowhere = open("/dev/null", O_WRONLY | O_CLOEXEC);

    if (nowhere >= 0)
        (void)dup2(nowhere, STDERR_FILENO);
    close_at(&nowhere);
}

void work_law(void *context)
{
    const struct check *check = context;
    uint64_t cases = check->cases;
    struct bench bench;

    if (check->given != NULL)
        hush();
    check->slate->law = check->law;
    open_bench(check, &bench, laws_all[check->law].watch);
    if (bench.size > SMALL_STATE)
        cases = MAX(cases * SMALL_STATE / bench.size, MIN(cases, LEAST_CASES));
    if (laws_all[check->law].is_of_plugin)
        cases = 1;
    try_cases(check, &bench, check->law, cases, clock_steady_ns() + CASES_NS);
    hold(check->slate);
}

/* Whether trying this law would show no more than LAW_RUNS_WELL does, with all guards set. */
static bool is_included(const struct law *law)
{
    return law->run == law_exercise && (law->watch & ~(unsigned)WATCH_QUICKLY) == 0 &&
           law != &laws_all[LAW_RUNS_WELL];
}

/* All laws, one after the other, under all guards at once. */
void work_quickly(void *context)
{
    const struct check *check = context;
    int64_t end_ns = clock_steady_ns() + QUICK_NS;
    uint64_t cases = QUICK_CASES;
    struct bench bench;

    check->slate->law = LAW_RUNS_WELL;
    open_bench(check, &bench, WATCH_QUICKLY);
    if (bench.size > SMALL_STATE * 4)
        cases = 1;
    for (unsigned law = LAW_SIZE; law < LAW_COUNT; law++) {
        if (is_included(&laws_all[law]) ||
            (laws_all[law].skip != NULL && laws_all[law].skip(check->plugin, check->options)))
            continue;
        bench.watch = WATCH_QUICKLY | laws_all[law].watch;
        try_cases(check, &bench, law, cases, end_ns);
    }
    hold(check->slate);
}

/* The mean time that update() takes for samples of a type; 0 if it takes none of them. */
static double measure(const struct check *check, struct bench *bench, bool texts)
{
    const struct law_case *at = &check->slate->at;
    struct rasad_value taken[CASE_SAMPLES];
    struct rasad_error error;
    size_t count = 0, done = 0;
    int64_t start_ns, now_ns;

    bench_fresh(bench, 0, 0);
    for (size_t i = 0; i < at->count; i++) {
        taken[count] = bench_value(&at->samples[i]);
        if ((at->samples[i].type == RASAD_TEXT) == texts &&
            bench->api->update(bench->config, bench->blocks[0].state, &taken[count], &error))
            count++;
    }
    start_ns = now_ns = clock_steady_ns();
    while (count > 0 && now_ns - start_ns < MEASURE_NS) {
        for (size_t round = 0; round < 20; round++) {
            for (size_t i = 0; i < count; i++)
                (void)bench->api->update(bench->config, bench->blocks[0].state, &taken[i], &error);
        }
        done += 20 * count;
        now_ns = clock_steady_ns();
    }
    return done > 0 ? (double)(now_ns - start_ns) / (double)done : 0;
}

void work_measure(void *context)
{
    const struct check *check = context;
    struct bench bench;

    open_bench(check, &bench, 0);
    for (int texts = 0; texts < 2; texts++) {
        for (uint64_t seed = 0; seed < 8 && check->slate->update_ns[texts] == 0; seed++) {
            draw_case(seed, 0, 1, &check->slate->at);
            check->slate->update_ns[texts] = measure(check, &bench, texts == 1);
        }
    }
    hold(check->slate);
}
