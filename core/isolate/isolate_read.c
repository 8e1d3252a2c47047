/* SPDX-License-Identifier: Apache-2.0 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/scoped.h"
#include "isolate/isolate_inside.h"

/* The usual room in the answer, for states and points; and the most for the points of one series.
 */
#define ANSWER_ROOM (UINT64_C(2) << 20)
#define MOST_POINT_BYTES (UINT64_C(16) << 20)

/* More shared memory than usual is given back after the job that needed it. */
#define MOST_KEPT (UINT64_C(8) << 20)

/* The readers' bench; the lock is held. */
static struct bench *readers_bench(const struct isolate *isolate)
{
    return isolate->benches[isolate->house.lanes];
}

/* Room for the items of any job, and for older states. */
static size_t request_room(size_t extra)
{
    return channel_items_at() + CHANNEL_MOST * sizeof(uint32_t) + extra;
}

static size_t states_end(const struct isolate *isolate, size_t count)
{
    return channel_state_at(isolate->state_bytes, count);
}

static unsigned char *state_at(const struct isolate *isolate, const struct bench *bench, size_t i)
{
    return bench->lane.channel.answer + channel_state_at(isolate->state_bytes, i);
}

/* States that have room in a usual answer, beside as many bytes of points; at least two. */
static size_t most_states(const struct isolate *isolate)
{
    size_t most = ANSWER_ROOM / 2 / channel_stride(isolate->state_bytes);

    return most < 2 ? 2 : most > CHANNEL_MOST ? CHANNEL_MOST : most;
}

static bool fail_off(const struct isolate *isolate, struct rasad_error *error)
{
    return rasad_fail(error, "plugin \"%s\" is switched off, since it crashed too often",
                      isolate->plugin);
}

/* What became of something that was asked alone; false: the error says why it failed. */
static bool judge(struct isolate *isolate, const struct bench *bench, enum outcome outcome,
                  const struct question *question, struct rasad_error *error)
{
    char text[CHANNEL_REASON_BYTES];

    if (outcome == OUTCOME_FINE) {
        isolate_praise(isolate);
        return true;
    }
    if (outcome == OUTCOME_BARRED)
        return rasad_fail(error, "%s", bench->failure.text);
    isolate_blame(isolate, bench, outcome, question, text);
    return rasad_fail(error, "%s", text);
}

/* ---- Merging ------------------------------------------------------------------------------- */

static enum outcome merge_once(struct isolate *isolate, struct bench *bench, void *into,
                               const void *const *from, size_t count)
{
    enum outcome outcome;

    if (!isolate_ready(isolate, bench, request_room(0), ANSWER_ROOM + states_end(isolate, 2)))
        return OUTCOME_BARRED;
    isolate_put_front(bench);
    isolate_put_state(isolate, bench, 0, into);
    for (size_t i = 0; i < count; i++)
        isolate_put_state(isolate, bench, i + 1, from[i]);
    *(struct channel_job *)bench->lane.channel.request =
        (struct channel_job){.verb = CHANNEL_MERGE, .state_count = (uint32_t)count + 1};
    outcome = isolate_run(isolate, bench, (uint32_t)count + 1);
    if (outcome == OUTCOME_FINE)
        memcpy(into, state_at(isolate, bench, 0), isolate->state_bytes);
    return outcome;
}

/* The lock is held. */
static bool merge_all(struct isolate *isolate, struct bench *bench, void *into,
                      const void *const *from, size_t count, struct rasad_error *error)
{
    const struct question question = {.doing = "merge", .state = into};
    size_t most = most_states(isolate) - 1;

    for (size_t i = 0, n; i < count; i += n) {
        enum outcome outcome;
        int tries = 0;

        n = count - i < most ? count - i : most;
        if (isolate_is_off(isolate))
            return fail_off(isolate, error);
        do
            outcome = merge_once(isolate, bench, into, from + i, n);
        while (isolate_tries_again(bench, outcome, ++tries));
        if (!judge(isolate, bench, outcome, &question, error))
            return false;
    }
    return true;
}

bool isolate_merge(struct isolate *isolate, void *into, const void *const *from, size_t count,
                   struct rasad_error *error)
{
    SCOPED(free_at) void *merged = malloc(isolate->state_bytes);
    bool fine;

    if (merged == NULL)
        return rasad_fail_memory(error);
    memcpy(merged, into, isolate->state_bytes);
    (void)pthread_mutex_lock(&isolate->reading);
    fine = merge_all(isolate, readers_bench(isolate), merged, from, count, error);
    (void)pthread_mutex_unlock(&isolate->reading);
    if (fine)
        memcpy(into, merged, isolate->state_bytes);
    return fine;
}

/* ---- Rendering ----------------------------------------------------------------------------- */

/* Series [0, count) from `series` on, which together have room in one job. */
struct drawing {
    const struct isolate_series *series;
    size_t count;
    size_t states; /* of all of them */
    size_t first;  /* the how manieth of the caller's the first one is */
    int64_t now_ns;
    const struct isolate_sink *sink;
};

static void put_drawing(struct isolate *isolate, struct bench *bench, const struct drawing *drawing)
{
    unsigned char *request = bench->lane.channel.request;
    uint32_t *counts = (uint32_t *)(request + channel_items_at());
    size_t at = 0;

    isolate_put_front(bench);
    for (size_t i = 0; i < drawing->count; i++) {
        counts[i] = (uint32_t)drawing->series[i].count;
        for (size_t k = 0; k < drawing->series[i].count; k++)
            isolate_put_state(isolate, bench, at++, drawing->series[i].states[k]);
    }
    *(struct channel_job *)request = (struct channel_job){.verb = CHANNEL_RENDER,
                                                          .count = (uint32_t)drawing->count,
                                                          .state_count = (uint32_t)at,
                                                          .now_ns = drawing->now_ns};
}

/* Copies what was rendered out of the process's reach, and looks whether it can be read. */
static enum outcome copy_points(struct isolate *isolate, struct bench *bench,
                                const struct drawing *drawing, size_t *rendered)
{
    const struct channel *channel = &bench->lane.channel;
    size_t at = states_end(isolate, drawing->states);
    uint64_t bytes = channel->control->points_bytes;
    SCOPED(point_reader_end) struct point_reader reader = {0};

    *rendered = channel->control->rendered;
    if (*rendered > drawing->count || bytes > channel->answer_bytes - at)
        return OUTCOME_NONSENSE;
    text_clear(&isolate->points);
    text_add(&isolate->points, channel->answer + at, bytes);
    reader = point_reader_make(isolate->points.at, isolate->points.length);
    for (size_t i = 0; i < *rendered; i++) {
        if (!point_reader_next(&reader, NULL))
            return OUTCOME_NONSENSE;
    }
    return OUTCOME_FINE;
}

/* `*rendered` of the series are in isolate->points then. */
static enum outcome draw_once(struct isolate *isolate, struct bench *bench,
                              const struct drawing *drawing, size_t room, size_t *rendered)
{
    enum outcome outcome;

    *rendered = 0;
    if (!isolate_ready(isolate, bench, request_room(0),
                       room + states_end(isolate, drawing->states)))
        return OUTCOME_BARRED;
    put_drawing(isolate, bench, drawing);
    outcome = isolate_run(isolate, bench, (uint32_t)drawing->states);
    if (outcome == OUTCOME_FINE)
        outcome = copy_points(isolate, bench, drawing, rendered);
    if (outcome == OUTCOME_NONSENSE)
        lane_end_hand(&bench->lane);
    return outcome;
}

/* Hands on what is in isolate->points. */
static void replay(struct isolate *isolate, const struct drawing *drawing, size_t rendered)
{
    const struct isolate_sink *sink = drawing->sink;
    SCOPED(point_reader_end)
    struct point_reader reader = point_reader_make(isolate->points.at, isolate->points.length);

    for (size_t i = 0; i < rendered; i++) {
        struct rasad_writer *writer = sink->begin(sink->context, drawing->first + i);

        sink->end(sink->context, drawing->first + i, point_reader_next(&reader, writer));
    }
}

/* One series by itself, with as much room as it needs. */
static bool draw_one(struct isolate *isolate, struct bench *bench, const struct drawing *drawing,
                     struct rasad_error *error)
{
    const struct question question = {.doing = "render", .state = drawing->series->states[0]};
    uint64_t room = ANSWER_ROOM;
    size_t rendered = 0;
    enum outcome outcome;
    int tries = 0;

    if (isolate_is_off(isolate))
        return fail_off(isolate, error);
    for (;;) {
        outcome = draw_once(isolate, bench, drawing, room, &rendered);
        if (outcome == OUTCOME_FINE && rendered == 0 && room < MOST_POINT_BYTES)
            room = MOST_POINT_BYTES;
        else if (!isolate_tries_again(bench, outcome, ++tries))
            break;
    }
    if (!judge(isolate, bench, outcome, &question, error))
        return false;
    if (rendered == 0)
        return rasad_fail(error, "a series of more than %d MiB", (int)(MOST_POINT_BYTES >> 20));
    return true;
}

/* One series whose states don't all have room in a job: they are merged here and there first. */
static bool draw_large(struct isolate *isolate, struct bench *bench, const struct drawing *drawing,
                       struct rasad_error *error)
{
    const void *const *states = drawing->series->states;
    SCOPED(free_at) void *merged = malloc(isolate->state_bytes);
    const void *const only[] = {merged};
    const struct isolate_series series = {only, 1};
    struct drawing small = *drawing;

    if (merged == NULL)
        return rasad_fail_memory(error);
    memcpy(merged, states[0], isolate->state_bytes);
    small.series = &series;
    small.states = 1;
    return merge_all(isolate, bench, merged, states + 1, drawing->series->count - 1, error) &&
           draw_one(isolate, bench, &small, error);
}

static void draw_alone(struct isolate *isolate, struct bench *bench, const struct drawing *drawing,
                       struct rasad_error *error)
{
    bool fine = drawing->states > most_states(isolate) ? draw_large(isolate, bench, drawing, error)
                                                       : draw_one(isolate, bench, drawing, error);

    if (fine)
        replay(isolate, drawing, 1);
    else
        drawing->sink->end(drawing->sink->context, drawing->first, false);
}

/* Renders what has room in one job; how many of the series are done. */
static size_t draw(struct isolate *isolate, struct bench *bench, const struct drawing *drawing,
                   struct rasad_error *error)
{
    size_t rendered = 0;

    if (drawing->count > 1 && !isolate_is_off(isolate) &&
        draw_once(isolate, bench, drawing, ANSWER_ROOM, &rendered) == OUTCOME_FINE &&
        rendered > 0) {
        isolate_praise(isolate);
        replay(isolate, drawing, rendered);
        return rendered;
    }
    for (size_t i = 0; i < drawing->count; i++) {
        struct drawing one = *drawing;

        one.series = &drawing->series[i];
        one.count = 1;
        one.states = one.series->count;
        one.first = drawing->first + i;
        draw_alone(isolate, bench, &one, error);
    }
    return drawing->count;
}

/* As many series as have room in one job; at least one. */
static void fit(const struct isolate *isolate, struct drawing *drawing, size_t left)
{
    size_t most = most_states(isolate);

    drawing->states = 0;
    for (drawing->count = 0; drawing->count < left; drawing->count++) {
        size_t more = drawing->series[drawing->count].count;

        assert(more > 0);
        if (drawing->count > 0 && drawing->states + more > most)
            break;
        drawing->states += more;
    }
}

static void draw_all(struct isolate *isolate, const struct isolate_series *series, size_t count,
                     int64_t now_ns, const struct isolate_sink *sink, struct rasad_error *error)
{
    struct drawing drawing = {.now_ns = now_ns, .sink = sink};
    struct bench *bench;

    (void)pthread_mutex_lock(&isolate->reading);
    bench = readers_bench(isolate);
    while (drawing.first < count) {
        drawing.series = series + drawing.first;
        fit(isolate, &drawing, count - drawing.first);
        drawing.first += draw(isolate, bench, &drawing, error);
    }
    lane_shrink(&bench->lane, MOST_KEPT);
    (void)pthread_mutex_unlock(&isolate->reading);
}

void isolate_render_all(struct isolate *isolate, const struct isolate_series *series, size_t count,
                        int64_t now_ns, const struct isolate_sink *sink)
{
    draw_all(isolate, series, count, now_ns, sink, NULL);
}

/* The sink of isolate_render(). */
struct one {
    struct rasad_writer *writer;
    bool fine;
};

static struct rasad_writer *begin_one(void *context, size_t i)
{
    assert(i == 0);
    return ((struct one *)context)->writer;
}

static void end_one(void *context, size_t i, bool fine)
{
    assert(i == 0);
    ((struct one *)context)->fine = fine;
}

bool isolate_render(struct isolate *isolate, const void *const *states, size_t count,
                    struct rasad_writer *writer, struct rasad_error *error)
{
    struct one one = {.writer = writer};
    const struct isolate_sink sink = {begin_one, end_one, &one};
    const struct isolate_series series = {states, count};

    draw_all(isolate, &series, 1, writer->now_ns, &sink, error);
    return one.fine;
}

/* ---- Migrating ----------------------------------------------------------------------------- */

static enum outcome migrate_once(struct isolate *isolate, struct bench *bench,
                                 const struct channel_job *job, const void *from, void *into,
                                 bool *fine)
{
    unsigned char *request;
    enum outcome outcome;

    if (!isolate_ready(isolate, bench, request_room(job->from_bytes),
                       ANSWER_ROOM + states_end(isolate, 2)))
        return OUTCOME_BARRED;
    request = bench->lane.channel.request;
    isolate_put_front(bench);
    isolate_put_state(isolate, bench, 0, isolate->keeper.fresh.at);
    *(struct channel_job *)request = *job;
    memcpy(request + channel_items_at(), from, job->from_bytes);
    outcome = isolate_run(isolate, bench, 1);
    *fine = outcome == OUTCOME_FINE && bench->lane.channel.control->verdicts[0] == CHANNEL_TAKEN;
    if (*fine)
        memcpy(into, state_at(isolate, bench, 0), isolate->state_bytes);
    return outcome;
}

bool isolate_migrate(struct isolate *isolate, uint32_t from_version, const void *from,
                     size_t from_bytes, void *into, struct rasad_error *error)
{
    const struct channel_job job = {.verb = CHANNEL_MIGRATE,
                                    .count = 1,
                                    .state_count = 1,
                                    .from_version = from_version,
                                    .from_bytes = from_bytes};
    const struct question question = {.doing = "migrate", .state = isolate->keeper.fresh.at};
    struct bench *bench;
    enum outcome outcome;
    bool fine = false;
    int tries = 0;

    (void)pthread_mutex_lock(&isolate->reading);
    bench = readers_bench(isolate);
    do
        outcome = migrate_once(isolate, bench, &job, from, into, &fine);
    while (isolate_tries_again(bench, outcome, ++tries));
    if (judge(isolate, bench, outcome, &question, error) && !fine)
        (void)rasad_fail(error, "plugin \"%s\" cannot bring over a state of version %u (%zu bytes)",
                         isolate->plugin, from_version, from_bytes);
    lane_shrink(&bench->lane, MOST_KEPT);
    (void)pthread_mutex_unlock(&isolate->reading);
    return fine;
}
