/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "base/clock.h"
#include "base/scoped.h"
#include "isolate/culprit.h"
#include "isolate/isolate_inside.h"

/* Culprits without a success between, after which the plugin is switched off. */
#define MOST_IN_A_ROW 5

/* Each that hangs holds up its whole shard, so successes between are no excuse. */
#define MOST_HUNG 20
#define HUNG_WITHIN_NS (60 * NS_PER_S)

/* Log lines about crashes: so many a second, and so many at once. */
#define CRASHES_PER_SECOND 1
#define CRASHES_AT_ONCE 10

/* Something that ended by a kill from outside is tried so often. */
#define MOST_TRIES 4

/* ---- Life ---------------------------------------------------------------------------------- */

static void isolate_close_at(struct isolate **isolate)
{
    isolate_close(*isolate);
}

bool isolate_open(const struct plugin *plugin, const char *metric, const char *section,
                  int64_t timeout_ns, struct isolate **out, struct rasad_error *error)
{
    SCOPED(isolate_close_at) struct isolate *isolate = calloc(1, sizeof *isolate);

    if (isolate == NULL)
        return rasad_fail_memory(error);
    (void)pthread_mutex_init(&isolate->reading, NULL);
    (void)pthread_mutex_init(&isolate->blame, NULL);
    isolate->timeout_ns = timeout_ns;
    isolate->state_version = plugin->api.state_version;
    isolate->crashes = gate_make(CRASHES_PER_SECOND, CRASHES_AT_ONCE);
    isolate->metric = strdup(metric);
    isolate->plugin = strdup(plugin->api.name);
    isolate->version = strdup(plugin->api.version);
    if (!keeper_open(&isolate->keeper, plugin->module.fd, plugin->api.name, plugin->path, section,
                     error))
        return false;
    if (isolate->metric == NULL || isolate->plugin == NULL || isolate->version == NULL)
        return rasad_fail_memory(error);
    isolate->state_bytes = isolate->keeper.fresh.length;
    *out = TAKE(isolate);
    return true;
}

static struct bench *bench_new(struct isolate *isolate, uint32_t index)
{
    struct bench *bench = calloc(1, sizeof *bench);

    if (bench == NULL)
        return NULL;
    bench->lane = lane_make(&isolate->keeper, index);
    if (getrandom(bench->canary, sizeof bench->canary, 0) != (ssize_t)sizeof bench->canary)
        memset(bench->canary, 0xa5, sizeof bench->canary); /* as good against accidents */
    return bench;
}

bool isolate_begin(struct isolate *isolate, const struct isolate_house *house,
                   struct rasad_error *error)
{
    isolate->house = *house;
    isolate->benches = calloc(house->lanes + 1, sizeof(struct bench *));
    if (isolate->benches == NULL)
        return rasad_fail_memory(error);
    for (uint32_t i = 0; i <= house->lanes; i++) {
        if ((isolate->benches[i] = bench_new(isolate, i)) == NULL)
            return rasad_fail_memory(error);
    }
    return true;
}

void isolate_close(struct isolate *isolate)
{
    if (isolate == NULL)
        return;
    for (uint32_t i = 0; isolate->benches != NULL && i <= isolate->house.lanes; i++) {
        if (isolate->benches[i] != NULL)
            lane_close(&isolate->benches[i]->lane);
        free(isolate->benches[i]);
    }
    free(isolate->benches);
    keeper_close(&isolate->keeper);
    text_free(&isolate->points);
    free(isolate->metric);
    free(isolate->plugin);
    free(isolate->version);
    (void)pthread_mutex_destroy(&isolate->reading);
    (void)pthread_mutex_destroy(&isolate->blame);
    free(isolate);
}

const void *isolate_fresh(const struct isolate *isolate, size_t *bytes)
{
    *bytes = isolate->state_bytes;
    return isolate->keeper.fresh.at;
}

bool isolate_is_off(const struct isolate *isolate)
{
    return atomic_load_explicit(&isolate->off, memory_order_relaxed);
}

uint64_t isolate_started(const struct isolate *isolate)
{
    return atomic_load_explicit(&isolate->started, memory_order_relaxed);
}

/* ---- A job --------------------------------------------------------------------------------- */

/* Says, once, that the system doesn't let us close the sandbox. */
static void tell_missing(struct isolate *isolate, uint32_t missing)
{
    bool first;

    (void)pthread_mutex_lock(&isolate->blame);
    first = !isolate->told_missing;
    isolate->told_missing = true;
    (void)pthread_mutex_unlock(&isolate->blame);
    if (first)
        log_warning(isolate->house.log, "the system refuses part of an isolated plugin's sandbox",
                    log_text("metric", isolate->metric), log_number("missing", missing));
}

/* Says, at a bounded rate, that there is no process. */
static void tell_barred(struct isolate *isolate, const struct bench *bench)
{
    uint64_t more = 0;
    bool say;

    (void)pthread_mutex_lock(&isolate->blame);
    say = gate_pass(&isolate->crashes, clock_steady_ns(), &more);
    (void)pthread_mutex_unlock(&isolate->blame);
    if (say)
        log_warning(isolate->house.log, "an isolated plugin has no process",
                    log_text("metric", isolate->metric), log_text("plugin", isolate->plugin),
                    log_text("reason", bench->failure.text),
                    log_number("more_like_this", (int64_t)more));
}

bool isolate_ready(struct isolate *isolate, struct bench *bench, size_t request_bytes,
                   size_t answer_bytes)
{
    uint64_t before = bench->lane.started;

    bench->failure.text[0] = '\0';
    if (!lane_ready(&bench->lane, request_bytes, answer_bytes, &bench->failure)) {
        tell_barred(isolate, bench);
        return false;
    }
    if (bench->lane.started == before)
        return true;
    (void)atomic_fetch_add_explicit(&isolate->started, 1, memory_order_relaxed);
    if (bench->lane.missing != 0)
        tell_missing(isolate, bench->lane.missing);
    return true;
}

void isolate_put_front(struct bench *bench)
{
    memcpy(bench->lane.channel.answer, bench->canary, CHANNEL_CANARY_BYTES);
}

void isolate_put_state(struct isolate *isolate, struct bench *bench, size_t i, const void *state)
{
    unsigned char *at = bench->lane.channel.answer + channel_state_at(isolate->state_bytes, i);

    memcpy(at, state, isolate->state_bytes);
    memcpy(at + isolate->state_bytes, bench->canary, CHANNEL_CANARY_BYTES);
}

static bool canaries_live(const struct isolate *isolate, const struct bench *bench,
                          uint32_t state_count)
{
    const unsigned char *answer = bench->lane.channel.answer;
    size_t at = 0;

    for (uint32_t i = 0; i <= state_count; i++) {
        if (memcmp(answer + at, bench->canary, CHANNEL_CANARY_BYTES) != 0)
            return false;
        at = channel_state_at(isolate->state_bytes, i) + isolate->state_bytes;
    }
    return true;
}

enum outcome isolate_run(struct isolate *isolate, struct bench *bench, uint32_t state_count)
{
    switch (lane_run(&bench->lane, isolate->timeout_ns)) {
    case LANE_DIED:
        return OUTCOME_DIED;
    case LANE_HUNG:
        return OUTCOME_HUNG;
    case LANE_LOST:
        return OUTCOME_LOST;
    default:
        break;
    }
    if (canaries_live(isolate, bench, state_count))
        return OUTCOME_FINE;
    lane_end_hand(&bench->lane);
    return OUTCOME_SPILLED;
}

bool isolate_tries_again(const struct bench *bench, enum outcome outcome, int tries)
{
    if (outcome == OUTCOME_FINE || outcome == OUTCOME_BARRED)
        return false;
    /* The first job of a process is its own fault, and no older one's. */
    return tries < MOST_TRIES && (outcome == OUTCOME_LOST || bench->lane.jobs > 1);
}

/* ---- Blame --------------------------------------------------------------------------------- */

void isolate_praise(struct isolate *isolate)
{
    if (!atomic_load_explicit(&isolate->has_blamed, memory_order_relaxed))
        return;
    (void)pthread_mutex_lock(&isolate->blame);
    isolate->in_a_row = 0;
    atomic_store_explicit(&isolate->has_blamed, false, memory_order_relaxed);
    (void)pthread_mutex_unlock(&isolate->blame);
}

/* Counts a culprit; whether it is one too many. */
static bool count_culprit(struct isolate *isolate, enum outcome outcome, int64_t now_ns)
{
    atomic_store_explicit(&isolate->has_blamed, true, memory_order_relaxed);
    isolate->in_a_row++;
    if (outcome == OUTCOME_HUNG) {
        if (isolate->hung == 0 || now_ns - isolate->hung_since_ns > HUNG_WITHIN_NS) {
            isolate->hung = 0;
            isolate->hung_since_ns = now_ns;
        }
        isolate->hung++;
    }
    return isolate->in_a_row >= MOST_IN_A_ROW || isolate->hung >= MOST_HUNG;
}

/* "it was ended by SIGSEGV", in words for people. */
static void say_why(const struct isolate *isolate, const struct bench *bench, enum outcome outcome,
                    char why[128])
{
    char end[64];

    keeper_say_end(bench->lane.status, end);
    if (outcome == OUTCOME_HUNG)
        (void)snprintf(why, 128, "no answer within %lld ms",
                       (long long)(isolate->timeout_ns / NS_PER_MS));
    else if (outcome == OUTCOME_SPILLED)
        (void)snprintf(why, 128, "it wrote outside its state");
    else if (outcome == OUTCOME_NONSENSE)
        (void)snprintf(why, 128, "its points could not be read");
    else
        (void)snprintf(why, 128, "%s", end);
}

static void keep(const struct isolate *isolate, const struct question *question, const char *why,
                 char path[PATH_MAX])
{
    const struct culprit culprit = {
        .plugin = isolate->plugin,
        .version = isolate->version,
        .state_version = isolate->state_version,
        .metric = isolate->metric,
        .section = isolate->keeper.section,
        .agent = question->sample != NULL ? question->sample->agent : NULL,
        .doing = question->doing,
        .why = why,
        .value = question->sample != NULL ? &question->sample->value : NULL,
        .state = question->state,
        .state_bytes = isolate->state_bytes,
        .wall_ns = clock_wall_ns(),
    };

    culprit_keep(isolate->house.crash_folder, &culprit, path);
}

static void tell_crash(const struct isolate *isolate, const struct question *question,
                       const char *why, const char *path, uint64_t more)
{
    const char *agent =
        question->sample != NULL && question->sample->agent != NULL ? question->sample->agent : "";

    log_warning(isolate->house.log, "an isolated plugin crashed",
                log_text("metric", isolate->metric), log_text("plugin", isolate->plugin),
                log_text("doing", question->doing), log_text("reason", why),
                log_text("agent", agent), log_text("kept", path),
                log_number("more_like_this", (int64_t)more));
}

void isolate_blame(struct isolate *isolate, const struct bench *bench, enum outcome outcome,
                   const struct question *question, char text[CHANNEL_REASON_BYTES])
{
    bool say, enough;
    char why[128], path[PATH_MAX];
    uint64_t more = 0;

    say_why(isolate, bench, outcome, why);
    (void)snprintf(text, CHANNEL_REASON_BYTES, "plugin \"%s\" crashed on it: %s", isolate->plugin,
                   why);
    (void)pthread_mutex_lock(&isolate->blame);
    keep(isolate, question, why, path); /* under the lock, so that two don't write the last one */
    say = gate_pass(&isolate->crashes, clock_steady_ns(), &more);
    enough = count_culprit(isolate, outcome, clock_steady_ns()) && !isolate_is_off(isolate);
    if (enough)
        atomic_store_explicit(&isolate->off, true, memory_order_relaxed);
    (void)pthread_mutex_unlock(&isolate->blame);
    if (say)
        tell_crash(isolate, question, why, path, more);
    if (enough)
        log_error(isolate->house.log,
                  "an isolated plugin is switched off until the next reload: it crashes on nearly "
                  "all it gets",
                  log_text("metric", isolate->metric), log_text("plugin", isolate->plugin),
                  log_text("reason", why));
}

pid_t isolate_process(const struct isolate *isolate)
{
    return isolate->keeper.process >= 0 ? isolate->keeper.pid : -1;
}
