/* SPDX-License-Identifier: Apache-2.0 */
#include "laws/bench.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/conf_schema.h"
#include "base/conf_values.h"
#include "base/memory_file.h"
#include "base/scoped.h"
#include "laws/table.h"

enum { CANARIES = 64, CANARY = 0xc5 };

/* Room for the labels that render() writes: more than its points can have. */
#define LABEL_ROOM ((size_t)4 << 20)

void bench_fail(const struct bench *bench, int law, const char *format, ...)
{
    struct slate *slate = bench->slate;
    va_list arguments;

    if (bench->options->watch_heap != NULL)
        bench->options->watch_heap(NULL);
    va_start(arguments, format);
    (void)vsnprintf(slate->detail, sizeof slate->detail, format, arguments);
    va_end(arguments);
    slate->law = law >= 0 ? (unsigned)law : slate->law;
    slate->outcome = LAW_BROKEN;
    _exit(EXIT_SUCCESS);
}

/* ---- Confs --------------------------------------------------------------------------------- */

static bool fill_config(struct conf_tree *tree, const struct plugin *plugin, bool others,
                        void *config)
{
    size_t count = plugin->api.option_count;
    SCOPED(free_at) struct rasad_option *rows = calloc(count + 1, sizeof *rows);
    const struct conf_statement *section = conf_find(&tree->root, "metric");

    if (rows == NULL || section == NULL)
        return false;
    for (size_t i = 0; i < count; i++)
        rows[i] = plugin_option(plugin, i);
    conf_check_options(tree, section, rows, count, others);
    return conf_tree_ok(tree) && (config == NULL || conf_fill(tree, section, rows, count, config));
}

bool bench_configure(const struct plugin *plugin, const char *conf, bool others, void **config,
                     struct rasad_error *error)
{
    const struct rasad_plugin *api = &plugin->api;
    SCOPED(conf_tree_free) struct conf_tree tree = {0};
    SCOPED(text_free) struct text bytes = {0};
    SCOPED(free_at) void *made = api->config_size > 0 ? calloc(1, api->config_size) : NULL;

    text_printf(&bytes, "metric \"law\" {\n%s\n}\n", conf);
    if (bytes.failed || (made == NULL && api->config_size > 0))
        return rasad_fail_memory(error);
    conf_scan_bytes("conf", bytes.at, bytes.length, &tree);
    if (!fill_config(&tree, plugin, others, made))
        return tree.complaint_count > 0 ? rasad_fail(error, "%s", tree.complaints[0].text)
                                        : rasad_fail_memory(error);
    if (api->configure != NULL && made != NULL && !api->configure(made, error))
        return false;
    *config = TAKE(made);
    return true;
}

/* ---- Memory -------------------------------------------------------------------------------- */

static size_t round_up(size_t size, size_t unit)
{
    return (size + unit - 1) / unit * unit;
}

/* Maps a block's part of the file between unmapped pages; NULL if that fails. */
static char *map_view(struct bench *bench, int fd, off_t at, size_t inner, int rights)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE), room = inner + 2 * page;
    char *pages = mmap(NULL, room, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if (pages == MAP_FAILED ||
        mmap(pages + page, inner, rights, MAP_SHARED | MAP_FIXED, fd, at) == MAP_FAILED)
        return NULL;
    return pages + page;
}

/* Tells the guard of a view, in which the block begins at `offset`. */
static void guard_view(struct bench *bench, const char *view, size_t inner, size_t offset)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);

    guard_add(&bench->guard, (struct guard_range){.start = view - page,
                                                  .end = view + inner + page,
                                                  .block = view + offset,
                                                  .block_end = view + offset + bench->size});
}

static bool map_block(struct bench *bench, struct bench_block *block, int fd, off_t at,
                      size_t inner)
{
    size_t offset = inner - round_up(bench->size, 8) - block->tail;
    char *view = map_view(bench, fd, at, inner, PROT_READ | PROT_WRITE);

    if (view == NULL)
        return false;
    memset(view, CANARY, inner);
    guard_view(bench, view, inner, offset);
    block->state = view + offset;
    block->lent = block->state;
    if ((bench->watch & WATCH_LENT) == 0)
        return true;
    view = map_view(bench, fd, at, inner, PROT_READ);
    if (view == NULL)
        return false;
    guard_add(&bench->guard,
              (struct guard_range){.start = view, .end = view + inner, .place = PLACE_LENT});
    guard_view(bench, view, inner, offset);
    block->lent = view + offset;
    return true;
}

static bool map_blocks(struct bench *bench)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    size_t inner = round_up(bench->size + 8 + 2 * CANARIES, page);
    SCOPED(close_at) int fd = memory_file("states");

    if (fd < 0 || ftruncate(fd, (off_t)(inner * BENCH_BLOCKS)) != 0)
        return false;
    for (int i = 0; i < BENCH_BLOCKS; i++) {
        bench->blocks[i].tail = (bench->watch & WATCH_OUTSIDE) != 0 && i % 2 == 1 ? 0 : CANARIES;
        if (!map_block(bench, &bench->blocks[i], fd, (off_t)(inner * (size_t)i), inner))
            return false;
    }
    return true;
}

/* A copy of the config that can only be read. What it points to stays where it is. */
static bool lend_config(struct bench *bench)
{
    size_t size = bench->plugin->api.config_size;
    size_t room = round_up(size, (size_t)sysconf(_SC_PAGESIZE));
    char *copy;

    if (bench->config == NULL)
        return true;
    copy = mmap(NULL, room, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (copy == MAP_FAILED)
        return false;
    memcpy(copy, bench->config, size);
    bench->config = copy;
    guard_add(&bench->guard,
              (struct guard_range){.start = copy, .end = copy + room, .place = PLACE_LENT});
    return mprotect(copy, room, PROT_READ) == 0;
}

/* All that a law needs, so that nothing is allocated later. */
static bool make_room(struct bench *bench)
{
    for (int i = 0; i < 2; i++) {
        struct point_set *set = &bench->points[i];

        *set = point_set_make();
        set->at = calloc(POINTS_MAX, sizeof *set->at);
        set->capacity = POINTS_MAX;
        if (set->at == NULL || !text_reserve(&set->labels, LABEL_ROOM))
            return false;
    }
    bench->before = malloc(bench->size);
    return bench->before != NULL && map_blocks(bench) &&
           ((bench->watch & WATCH_LENT) == 0 || lend_config(bench));
}

/* ---- The bench ----------------------------------------------------------------------------- */

static void open_older(struct bench *bench)
{
    struct rasad_error error;
    void *config;

    if (bench->options->older == NULL)
        return;
    bench->slate->call = CALL_OLDER;
    bench->has_older =
        bench_configure(bench->options->older, bench->slate->conf, true, &config, &error);
    if (bench->has_older)
        bench->older_config = config;
}

static void set_guards(struct bench *bench)
{
    struct slate *slate = bench->slate;

    if ((bench->watch & WATCH_CALLS) != 0 && !guard_calls()) {
        (void)snprintf(slate->detail, sizeof slate->detail,
                       "the kernel allows no filter of system calls: %s", strerror(errno));
        slate->outcome = LAW_SKIPPED;
        _exit(EXIT_SUCCESS);
    }
    if ((bench->watch & WATCH_HEAP) != 0 && bench->options->watch_heap != NULL)
        bench->options->watch_heap(guard_heap_found);
}

void bench_open(struct bench *bench, unsigned watch)
{
    struct rasad_error error = {""};
    struct slate *slate = bench->slate;
    void *config;

    bench->api = &bench->plugin->api;
    bench->watch = watch;
    bench->guard.slate = slate;
    guard_signals(&bench->guard);
    open_older(bench);
    if ((watch & WATCH_GLOBALS) != 0 && bench->plugin->module.handle != NULL &&
        !guard_globals(&bench->guard, &bench->plugin->module))
        bench_fail(bench, LAW_GLOBALS, "it has variables of each thread's own (_Thread_local)");
    slate->call = CALL_CONFIGURE;
    bench_require(bench, bench_configure(bench->plugin, slate->conf, false, &config, &error),
                  "configure() takes a conf once and then refuses it: %s", error.text);
    bench->config = config;
    slate->call = CALL_STATE_SIZE;
    bench->size = bench->api->state_size(bench->config);
    slate->call = CALL_NONE;
    if (bench->size < 1 || bench->size > AGGREGATE_MAX_STATE)
        bench_fail(bench, LAW_SIZE, "state_size() is %zu (it can be 1 to %d)", bench->size,
                   AGGREGATE_MAX_STATE);
    slate->state_size = bench->size;
    bench_require(bench, make_room(bench), "there is no memory for the check");
    set_guards(bench);
}

/* ---- Calls --------------------------------------------------------------------------------- */

/* Whether the canaries on both sides of a block are as they were; the guard page is behind them. */
static bool is_unharmed(const struct bench *bench, const struct bench_block *block)
{
    size_t rest = round_up(bench->size, 8) - bench->size + block->tail;

    for (size_t i = 1; i <= CANARIES; i++) {
        if ((unsigned char)block->state[-(ptrdiff_t)i] != CANARY)
            return false;
    }
    for (size_t i = 0; i < rest; i++) {
        if ((unsigned char)block->state[bench->size + i] != CANARY)
            return false;
    }
    return true;
}

/* What must hold after each call. */
static void look_after(struct bench *bench, enum law_call call)
{
    bench->slate->call = CALL_NONE;
    for (int i = 0; (bench->watch & WATCH_OUTSIDE) != 0 && i < BENCH_BLOCKS; i++) {
        if (!is_unharmed(bench, &bench->blocks[i]))
            bench_fail(bench, LAW_OUTSIDE, "%s changes bytes outside of its block",
                       laws_call_name(call));
    }
}

void bench_verify(struct bench *bench, int block, enum law_call after)
{
    bool fine;

    if (bench->api->verify == NULL)
        return;
    bench->slate->call = CALL_VERIFY;
    fine = bench->api->verify(bench->config, bench->blocks[block].lent, bench->size);
    look_after(bench, CALL_VERIFY);
    if ((bench->watch & WATCH_VERIFY) != 0 && !fine)
        bench_fail(bench, LAW_VERIFY, "verify() refuses a state that %s made",
                   laws_call_name(after));
}

void bench_fresh(struct bench *bench, int block, int fill)
{
    char *state = bench->blocks[block].state;

    memset(state, fill, bench->size);
    bench->slate->call = CALL_INIT;
    bench->api->init(bench->config, state);
    look_after(bench, CALL_INIT);
    if ((bench->watch & WATCH_VERIFY) != 0)
        bench_verify(bench, block, CALL_INIT);
}

struct rasad_value bench_value(const struct case_sample *sample)
{
    static const struct rasad_label labels[] = {{"trace_id", "0af7651916cd43dd8448eb211c80319c"}};
    static const struct rasad_exemplar exemplar = {labels, 1};

    return (struct rasad_value){
        .size = sizeof(struct rasad_value),
        .type = sample->type,
        .number = sample->number,
        .text = sample->text,
        .length = sample->length,
        .time_ns = sample->time_ns,
        .seed = sample->seed,
        .exemplar = sample->has_exemplar ? &exemplar : NULL,
    };
}

/* How many bytes differ from those before. */
static size_t count_changed(const struct bench *bench, const char *state)
{
    size_t changed = 0;

    for (size_t i = 0; i < bench->size; i++)
        changed += state[i] != bench->before[i];
    return changed;
}

static void check_refusal(struct bench *bench, const char *state, struct rasad_error *error)
{
    size_t length = strnlen(error->text, sizeof error->text);

    if ((bench->watch & WATCH_REFUSED) != 0 && memcmp(bench->before, state, bench->size) != 0)
        bench_fail(bench, LAW_REFUSED,
                   "update() refuses the last sample (%.*s), but changes %zu "
                   "byte(s) of the state",
                   (int)length, error->text, count_changed(bench, state));
    if ((bench->watch & WATCH_REASON) == 0)
        return;
    if (length == 0 || length == sizeof error->text)
        bench_fail(bench, LAW_REASON, "update() refuses the last sample and gives no reason");
    if (memchr(error->text, '\n', length) != NULL)
        bench_fail(bench, LAW_REASON,
                   "the reason why update() refuses the last sample has more "
                   "than one line");
}

static void feed_one(struct bench *bench, int block, const struct case_sample *sample)
{
    char *state = bench->blocks[block].state;
    struct rasad_value value = bench_value(sample), given;
    struct rasad_error error;
    bool taken;

    memcpy(&given, &value, sizeof given);
    error.text[0] = '\0';
    if ((bench->watch & WATCH_REFUSED) != 0)
        memcpy(bench->before, state, bench->size);
    bench->slate->call = CALL_UPDATE;
    taken = bench->api->update(bench->config, state, &value, &error);
    look_after(bench, CALL_UPDATE);
    if ((bench->watch & WATCH_LENT) != 0 && memcmp(&given, &value, sizeof given) != 0)
        bench_fail(bench, LAW_LENT, "update() writes to the value that it may only read");
    if (!taken)
        check_refusal(bench, state, &error);
    else if ((bench->watch & WATCH_VERIFY) != 0)
        bench_verify(bench, block, CALL_UPDATE);
}

void bench_feed(struct bench *bench, int block, int part)
{
    const struct law_case *at = &bench->slate->at;

    for (size_t i = 0; i < at->count; i++) {
        if (part < 0 || at->samples[i].part == part)
            feed_one(bench, block, &at->samples[i]);
    }
}

void bench_make(struct bench *bench, int block, int part)
{
    bench_fresh(bench, block, part % 2 == 0 ? 0x00 : 0xff);
    bench_feed(bench, block, part);
}

void bench_merge(struct bench *bench, int into, int from)
{
    bench->slate->call = CALL_MERGE;
    bench->api->merge(bench->config, bench->blocks[into].state, bench->blocks[from].lent);
    look_after(bench, CALL_MERGE);
    if ((bench->watch & WATCH_VERIFY) != 0)
        bench_verify(bench, into, CALL_MERGE);
}

void bench_copy(struct bench *bench, int into, int from)
{
    memcpy(bench->blocks[into].state, bench->blocks[from].state, bench->size);
}

void bench_render(struct bench *bench, int block, int set)
{
    struct point_set *points = &bench->points[set];

    point_set_clear(points, bench->slate->at.now_ns);
    bench->slate->call = CALL_RENDER;
    bench->api->render(bench->config, bench->blocks[block].lent, &points->writer);
    look_after(bench, CALL_RENDER);
}
