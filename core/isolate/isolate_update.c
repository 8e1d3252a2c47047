/* SPDX-License-Identifier: Apache-2.0 */
#include <assert.h>
#include <string.h>

#include "isolate/isolate_inside.h"

/* The usual room for texts and exemplars of a batch, beside its samples. */
#define TEXT_ROOM (UINT64_C(128) << 10)

/* The usual room for states; but always for one. */
#define STATE_ROOM (UINT64_C(4) << 20)

/* More shared memory than usual is given back after the batch that needed it. */
#define MOST_KEPT (UINT64_C(16) << 20)

static const char out_of_house[] = "its plugin is switched off, since it crashed too often";

/* Samples [first, first + count) of those that the caller gave. */
struct batch {
    struct isolate_sample *samples; /* the first of them */
    size_t first;
    size_t count;
    size_t text; /* bytes of their texts */
};

/* ---- Sizes --------------------------------------------------------------------------------- */

/* The bytes that a value takes beside its struct. */
static size_t text_bytes(const struct rasad_value *value)
{
    size_t bytes = value->length + 1;

    if (value->exemplar == NULL)
        return bytes;
    for (uint64_t i = 0; i < value->exemplar->label_count; i++)
        bytes +=
            strlen(value->exemplar->labels[i].name) + strlen(value->exemplar->labels[i].value) + 2;
    return bytes;
}

/* States that have room in one batch. */
static size_t most_states(const struct isolate *isolate)
{
    size_t most = STATE_ROOM / channel_stride(isolate->state_bytes);

    return most < 1 ? 1 : most > ISOLATE_BATCH ? ISOLATE_BATCH : most;
}

/* How many of the samples make the next batch: at least one. */
static size_t fit(const struct isolate *isolate, const struct isolate_sample *samples, size_t count,
                  size_t *text)
{
    size_t most = most_states(isolate), n = 0, bytes;

    for (*text = 0; n < count && n < most; n++) {
        bytes = text_bytes(&samples[n].value);
        if (n > 0 && *text + bytes > TEXT_ROOM)
            break;
        *text += bytes;
    }
    return n;
}

/* ---- Into the channel ---------------------------------------------------------------------- */

/* The how manieth state of the batch this master is; a new one is copied into the channel. */
static uint32_t find_state(struct isolate *isolate, struct bench *bench, void *state)
{
    size_t at = ((uintptr_t)state * UINT64_C(0x9e3779b97f4a7c15)) >> 40;

    for (;; at++) {
        struct slot *slot = &bench->slots[at % SLOT_COUNT];

        if (slot->round == bench->round && slot->state == state)
            return slot->index;
        if (slot->round == bench->round)
            continue;
        *slot = (struct slot){state, bench->round, bench->state_count};
        bench->masters[bench->state_count] = state;
        bench->changed[bench->state_count] = false;
        isolate_put_state(isolate, bench, bench->state_count, state);
        return bench->state_count++;
    }
}

static size_t put_string(unsigned char *at, const char *string)
{
    size_t length = strlen(string) + 1;

    memcpy(at, string, length);
    return length;
}

/* Puts a value's texts at `at` of the request; where they end. */
static size_t put_texts(unsigned char *request, size_t at, const struct rasad_value *value,
                        struct channel_sample *sample)
{
    const struct rasad_exemplar *exemplar = value->exemplar;

    sample->text = at;
    if (value->length > 0)
        memcpy(request + at, value->text, value->length);
    at += value->length;
    request[at++] = '\0';
    sample->labels = at;
    for (uint64_t i = 0; exemplar != NULL && i < exemplar->label_count; i++) {
        at += put_string(request + at, exemplar->labels[i].name);
        at += put_string(request + at, exemplar->labels[i].value);
    }
    return at;
}

static struct channel_sample to_item(const struct rasad_value *value, uint32_t state)
{
    return (struct channel_sample){
        .state = state,
        .type = value->type,
        .number = value->number,
        .time_ns = value->time_ns,
        .seed = value->seed,
        .length = value->length,
        .has_exemplar = value->exemplar != NULL,
        .label_count = value->exemplar != NULL ? (uint32_t)value->exemplar->label_count : 0,
    };
}

static void put_batch(struct isolate *isolate, struct bench *bench, const struct batch *batch)
{
    unsigned char *request = bench->lane.channel.request;
    struct channel_sample *items = (struct channel_sample *)(request + channel_items_at());
    size_t at = channel_items_at() + batch->count * sizeof *items;

    bench->round++;
    bench->state_count = 0;
    isolate_put_front(bench);
    for (size_t i = 0; i < batch->count; i++) {
        const struct isolate_sample *sample = &batch->samples[i];

        bench->indices[i] = find_state(isolate, bench, sample->state);
        items[i] = to_item(&sample->value, bench->indices[i]);
        at = put_texts(request, at, &sample->value, &items[i]);
    }
    *(struct channel_job *)request = (struct channel_job){
        .verb = CHANNEL_UPDATE, .count = (uint32_t)batch->count, .state_count = bench->state_count};
}

/* ---- Out of it ----------------------------------------------------------------------------- */

static void refuse(struct bench *bench, const struct batch *batch, size_t i)
{
    char *reason = bench->reasons[batch->first + i];

    memcpy(reason, bench->lane.channel.control->reasons[i], CHANNEL_REASON_BYTES);
    reason[CHANNEL_REASON_BYTES - 1] = '\0';
    batch->samples[i].verdict = ISOLATE_REFUSED;
    batch->samples[i].reason = reason;
}

/* Takes over what a batch that went well has changed. */
static void take_batch(struct isolate *isolate, struct bench *bench, const struct batch *batch)
{
    uint8_t verdicts[CHANNEL_MOST];

    memcpy(verdicts, bench->lane.channel.control->verdicts, batch->count);
    for (size_t i = 0; i < batch->count; i++) {
        if (verdicts[i] == CHANNEL_TAKEN) {
            batch->samples[i].verdict = ISOLATE_TAKEN;
            bench->changed[bench->indices[i]] = true;
        } else {
            refuse(bench, batch, i);
        }
    }
    for (uint32_t i = 0; i < bench->state_count; i++) {
        if (bench->changed[i])
            memcpy(bench->masters[i],
                   bench->lane.channel.answer + channel_state_at(isolate->state_bytes, i),
                   isolate->state_bytes);
    }
}

/* ---- Running ------------------------------------------------------------------------------- */

/* All of the batch or nothing of it. */
static enum outcome run(struct isolate *isolate, struct bench *bench, const struct batch *batch)
{
    size_t stride = channel_stride(isolate->state_bytes);
    size_t usual = most_states(isolate) * stride + CHANNEL_CANARY_BYTES;
    size_t room = batch->text > TEXT_ROOM ? batch->text : TEXT_ROOM;
    enum outcome outcome;

    if (!isolate_ready(isolate, bench,
                       channel_items_at() + ISOLATE_BATCH * sizeof(struct channel_sample) + room,
                       usual))
        return OUTCOME_BARRED;
    put_batch(isolate, bench, batch);
    outcome = isolate_run(isolate, bench, bench->state_count);
    if (outcome == OUTCOME_FINE)
        take_batch(isolate, bench, batch);
    return outcome;
}

static void crash(struct bench *bench, const struct batch *batch, const char *text)
{
    char *reason = bench->reasons[batch->first];

    if (text != reason)
        (void)snprintf(reason, CHANNEL_REASON_BYTES, "%s", text);
    batch->samples->verdict = ISOLATE_CRASHED;
    batch->samples->reason = reason;
}

/* One sample by itself: taken, refused, or found to be the culprit. */
static void run_one(struct isolate *isolate, struct bench *bench, const struct batch *batch)
{
    const struct question question = {
        .doing = "update", .sample = batch->samples, .state = batch->samples->state};
    enum outcome outcome;
    int tries = 0;

    if (isolate_is_off(isolate)) {
        crash(bench, batch, out_of_house);
        return;
    }
    do
        outcome = run(isolate, bench, batch);
    while (isolate_tries_again(bench, outcome, ++tries));
    if (outcome == OUTCOME_FINE) {
        isolate_praise(isolate);
    } else if (outcome == OUTCOME_BARRED) {
        crash(bench, batch, bench->failure.text);
    } else {
        isolate_blame(isolate, bench, outcome, &question, bench->reasons[batch->first]);
        crash(bench, batch, bench->reasons[batch->first]);
    }
}

static void run_batch(struct isolate *isolate, struct bench *bench, const struct batch *batch)
{
    if (batch->count > 1 && !isolate_is_off(isolate) &&
        run(isolate, bench, batch) == OUTCOME_FINE) {
        isolate_praise(isolate);
        return;
    }
    for (size_t i = 0; i < batch->count; i++) {
        const struct batch one = {.samples = &batch->samples[i],
                                  .first = batch->first + i,
                                  .count = 1,
                                  .text = text_bytes(&batch->samples[i].value)};

        run_one(isolate, bench, &one);
    }
}

void isolate_update(struct isolate *isolate, uint32_t lane, struct isolate_sample *samples,
                    size_t count)
{
    struct bench *bench = isolate->benches[lane];
    struct batch batch = {.samples = samples};

    assert(lane < isolate->house.lanes && count <= ISOLATE_BATCH);
    for (; batch.first < count; batch.first += batch.count) {
        batch.samples = &samples[batch.first];
        batch.count = fit(isolate, batch.samples, count - batch.first, &batch.text);
        run_batch(isolate, bench, &batch);
    }
    lane_shrink(&bench->lane, MOST_KEPT);
}
