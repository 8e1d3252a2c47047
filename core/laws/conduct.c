/* SPDX-License-Identifier: Apache-2.0 */
/* The laws about what a plugin's functions may do, and the table of all. */
#include <string.h>

#include "laws/table.h"

/* bench_open() has checked the bounds. */
void law_size(struct bench *bench)
{
    for (int i = 0; i < 3; i++) {
        size_t size;

        bench->slate->call = CALL_STATE_SIZE;
        size = bench->api->state_size(bench->config);
        bench->slate->call = CALL_NONE;
        bench_require(bench, size == bench->size, "state_size() is %zu, and then %zu", bench->size,
                      size);
        bench_fresh(bench, 0, 0);
    }
}

/* Every function once; what is watched meanwhile makes it one law or another. */
static void exercise(struct bench *bench, int x, int y, int z)
{
    bench_make(bench, x, 0);
    bench_make(bench, y, 1);
    bench_fresh(bench, z, 0x5a);
    bench_merge(bench, x, y);
    bench_merge(bench, z, x);
    bench_render(bench, x, 0);
    bench_render(bench, z, 0);
    bench_feed(bench, z, 1);
    bench_verify(bench, z, CALL_UPDATE);
    bench->slate->call = CALL_STATE_SIZE;
    (void)bench->api->state_size(bench->config);
    bench->slate->call = CALL_NONE;
}

void law_exercise(struct bench *bench)
{
    exercise(bench, 0, 2, 4);
    if ((bench->watch & WATCH_OUTSIDE) != 0)
        exercise(bench, 1, 3, 5); /* which have a guard page behind them instead of canaries */
}

static void check_kind(struct bench *bench, int block, const char *which)
{
    static const struct text none = {0};
    static const char *const kinds[] = {"", "gauge", "counter", "histogram", "summary"};

    bench_render(bench, block, 0);
    bench_require(bench, !bench->points[0].failed,
                  "render() writes more than %d points or labels without a text", POINTS_MAX);
    bench_require(bench, point_set_fits(&bench->points[0], bench->api->kind, &none),
                  "what render() writes of %s is no %s (%zu points: wrong ones, or in the wrong "
                  "order)",
                  which, kinds[bench->api->kind], bench->points[0].count);
}

void law_kind(struct bench *bench)
{
    bench_fresh(bench, 1, 0);
    check_kind(bench, 1, "a fresh state");
    bench_make(bench, 0, 0);
    check_kind(bench, 0, "a state with these samples");
    bench_make(bench, 2, 1);
    bench_merge(bench, 0, 2);
    check_kind(bench, 0, "two states merged");
}

void law_render(struct bench *bench)
{
    bench_make(bench, 0, 0);
    bench_copy(bench, 2, 0);
    bench_same(bench, 0, 0, "rendered again");
    bench_require(bench, memcmp(bench->blocks[0].state, bench->blocks[2].state, bench->size) == 0,
                  "render() changes the state");
    bench_same(bench, 2, 0, "the same bytes elsewhere");
}

/* ---- migrate() ----------------------------------------------------------------------------- */

/* Has migrate() bring `size` bytes over into a block. */
static bool migrate(struct bench *bench, int into, uint32_t version, const char *from, size_t size)
{
    bool taken;

    bench_fresh(bench, into, 0x00);
    bench->slate->call = CALL_MIGRATE;
    taken = bench->api->migrate(bench->config, version, from, size, bench->blocks[into].state);
    bench->slate->call = CALL_NONE;
    return taken;
}

/* Random bytes of a random size, right before a guard page: they may be taken or refused, as long
 * as no more than them is read; and no bytes at all are no state. */
static void migrate_rubbish(struct bench *bench)
{
    uint64_t seed = bench->slate->at.seed;
    uint32_t version = 1 + (uint32_t)draw_below(&seed, bench->api->state_version);
    size_t most = (bench->size + 7) / 8 * 8;
    size_t size = draw_below(&seed, most / 8 + 1) * 8; /* a state is aligned to 8 bytes */
    char *end = bench->blocks[1].state + most;

    for (size_t i = 0; i < size; i++)
        *(end - 1 - i) = (char)draw_bits(&seed);
    (void)migrate(bench, 0, version, end - size, size);
    bench_require(bench, !migrate(bench, 0, version, end, 0),
                  "migrate() takes 0 bytes for a state of version %u (compare `size` first)",
                  version);
}

/* A state that the older build made out of the first part, at the end of block 1's room; its size,
 * or 0 if there is none under this conf. */
static size_t make_older(struct bench *bench, char **state)
{
    const struct law_case *at = &bench->slate->at;
    const struct rasad_plugin *older;
    static uint64_t room[AGGREGATE_MAX_STATE / sizeof(uint64_t)];
    size_t size;

    if (!bench->has_older)
        return 0;
    older = &bench->options->older->api;
    bench->slate->call = CALL_OLDER;
    size = older->state_size(bench->older_config);
    if (size < 1 || size > sizeof room)
        return 0;
    *state = (char *)room;
    older->init(bench->older_config, room);
    for (size_t i = 0; i < at->count; i++) {
        const struct rasad_value value = bench_value(&at->samples[i]);
        struct rasad_error error;

        if (at->samples[i].part == 0)
            (void)older->update(bench->older_config, room, &value, &error);
    }
    bench->slate->call = CALL_NONE;
    return size;
}

/* What migrate() makes of a real state must be as good as any other. */
static void migrate_older(struct bench *bench)
{
    static const struct text none = {0};
    uint32_t version;
    char *from;
    size_t size = make_older(bench, &from);

    if (size == 0)
        return;
    version = bench->options->older->api.state_version;
    if (!migrate(bench, 0, version, from, size))
        return;
    bench->slate->migrated++;
    bench_verify(bench, 0, CALL_MIGRATE);
    bench_require(bench, migrate(bench, 1, version, from, size),
                  "migrate() takes a state once and then refuses it");
    bench_same(bench, 1, 0, "migrated a second time");
    bench_require(bench, point_set_fits(&bench->points[0], bench->api->kind, &none),
                  "what render() writes of a migrated state is wrong");
    bench_fresh(bench, 2, 0xff);
    bench_merge(bench, 2, 0);
    bench_same(bench, 2, 0, "before it was merged into a fresh state");
    bench_feed(bench, 0, 1);
}

void law_migrate(struct bench *bench)
{
    migrate_rubbish(bench);
    migrate_older(bench);
}

/* ---- The table ----------------------------------------------------------------------------- */

static const char *skip_no_file(const struct plugin *plugin, const struct laws_options *options)
{
    return plugin->module.handle == NULL ? "it is not loaded from a file" : NULL;
}

static const char *skip_heap(const struct plugin *plugin, const struct laws_options *options)
{
    return options->watch_heap == NULL ? "a build with a sanitizer has its malloc()" : NULL;
}

static const char *skip_commutative(const struct plugin *plugin, const struct laws_options *options)
{
    return (plugin->api.flags & RASAD_COMMUTATIVE) == 0 ? "it doesn't say RASAD_COMMUTATIVE" : NULL;
}

static const char *skip_verify(const struct plugin *plugin, const struct laws_options *options)
{
    return plugin->api.verify == NULL ? "it has no verify()" : NULL;
}

static const char *skip_migrate(const struct plugin *plugin, const struct laws_options *options)
{
    return plugin->api.migrate == NULL ? "it has no migrate()" : NULL;
}

#define WIDE (DRAW_WIDE | DRAW_UNORDERED)

const struct law laws_all[LAW_COUNT] = {
    [LAW_CONFS] = {.title = "configure() takes or refuses a conf", .vital = true},
    [LAW_IMPORTS] = {.title = "only pure functions are imported",
                     .run = law_imports,
                     .is_of_plugin = true,
                     .skip = skip_no_file},
    [LAW_SIZE] = {.title = "a state has one size", .run = law_size, .vital = true},
    [LAW_RUNS_WELL] = {.title = "no function crashes or hangs",
                       .run = law_exercise,
                       .draws = WIDE,
                       .parts = 2,
                       .vital = true},
    [LAW_CALLS] = {.title = "no system call is made",
                   .run = law_exercise,
                   .watch = WATCH_CALLS,
                   .draws = WIDE,
                   .parts = 2},
    [LAW_HEAP] = {.title = "nothing is allocated",
                  .run = law_exercise,
                  .watch = WATCH_HEAP,
                  .draws = WIDE,
                  .parts = 2,
                  .skip = skip_heap},
    [LAW_GLOBALS] = {.title = "no global is written",
                     .run = law_exercise,
                     .watch = WATCH_GLOBALS,
                     .draws = WIDE,
                     .parts = 2,
                     .skip = skip_no_file},
    [LAW_OUTSIDE] = {.title = "nothing is written outside the block",
                     .run = law_exercise,
                     .watch = WATCH_OUTSIDE,
                     .draws = WIDE,
                     .parts = 2},
    [LAW_LENT] = {.title = "what is lent is only read",
                  .run = law_exercise,
                  .watch = WATCH_LENT,
                  .draws = WIDE,
                  .parts = 2},
    [LAW_INIT] = {.title = "init makes the same of any bytes", .run = law_init},
    [LAW_NEUTRAL] = {.title = "a fresh state is neutral for merge",
                     .run = law_neutral,
                     .draws = DRAW_UNORDERED,
                     .parts = 1},
    [LAW_ASSOCIATIVE] = {.title = "merge is associative", .run = law_associative, .parts = 3},
    [LAW_COMMUTATIVE] = {.title = "merge is commutative",
                         .run = law_commutative,
                         .parts = 2,
                         .skip = skip_commutative},
    [LAW_HALVES] = {.title = "two halves merge into the whole",
                    .run = law_halves,
                    .draws = DRAW_HALVES,
                    .parts = 2},
    [LAW_COPY] = {.title = "a moved state is as good",
                  .run = law_copy,
                  .draws = WIDE | DRAW_HALVES,
                  .parts = 2},
    [LAW_REFUSED] = {.title = "a refused value changes no byte",
                     .run = law_exercise,
                     .watch = WATCH_REFUSED,
                     .draws = WIDE,
                     .parts = 2},
    [LAW_REASON] = {.title = "a refusal gives one line of reason",
                    .run = law_exercise,
                    .watch = WATCH_REASON,
                    .draws = WIDE,
                    .parts = 2},
    [LAW_KIND] = {.title = "render writes points of its kind",
                  .run = law_kind,
                  .draws = WIDE,
                  .parts = 2},
    [LAW_RENDER] = {.title = "the same bytes render the same",
                    .run = law_render,
                    .draws = WIDE,
                    .parts = 1},
    [LAW_VERIFY] = {.title = "verify accepts what the functions make",
                    .run = law_exercise,
                    .watch = WATCH_VERIFY,
                    .draws = WIDE,
                    .parts = 2,
                    .skip = skip_verify},
    [LAW_MIGRATE] = {.title = "migrate takes older states and no rubbish",
                     .run = law_migrate,
                     .watch = WATCH_OUTSIDE,
                     .draws = DRAW_UNORDERED,
                     .parts = 2,
                     .skip = skip_migrate},
};
