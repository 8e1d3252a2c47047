/* SPDX-License-Identifier: Apache-2.0 */
#include "isolate/batch.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

/* More texts than this are not kept for the next batch. */
#define MOST_KEPT (1 << 20)

struct batch *batch_new(void)
{
    return calloc(1, sizeof(struct batch));
}

void batch_free(struct batch *batch)
{
    if (batch == NULL)
        return;
    text_free(&batch->texts);
    free(batch->labels);
    free(batch);
}

void batch_clear(struct batch *batch)
{
    batch->count = 0;
    batch->label_count = 0;
    if (batch->texts.capacity > MOST_KEPT)
        text_free(&batch->texts);
    text_clear(&batch->texts);
}

const char *batch_text(const struct batch *batch, size_t at)
{
    return batch->texts.at + at;
}

/* Adds bytes and a NUL; where they begin. */
static size_t keep(struct batch *batch, const char *bytes, size_t length)
{
    size_t at = batch->texts.length;

    text_add(&batch->texts, bytes, length);
    text_add_char(&batch->texts, '\0');
    return at;
}

static void keep_exemplar(struct batch *batch, struct batch_item *item,
                          const struct rasad_exemplar *exemplar)
{
    item->has_exemplar = true;
    item->exemplar.label_count = exemplar->label_count;
    item->labels_at = batch->texts.length;
    for (uint64_t i = 0; i < exemplar->label_count; i++) {
        (void)keep(batch, exemplar->labels[i].name, strlen(exemplar->labels[i].name));
        (void)keep(batch, exemplar->labels[i].value, strlen(exemplar->labels[i].value));
    }
    batch->label_count += exemplar->label_count;
}

bool batch_add(struct batch *batch, struct series *series, const struct sample *sample,
               const struct batch_origin *origin)
{
    struct batch_item *item = &batch->items[batch->count];
    size_t length = batch->texts.length;

    assert(!batch_is_full(batch));
    *item = (struct batch_item){
        .series = series,
        .sender = *origin->sender,
        .value = sample->value,
        .clamped = sample->clamped,
        .watched = origin->sample != NULL,
        .key_at = keep(batch, origin->key, strlen(origin->key)),
        .text_at = keep(batch, sample->value.text, sample->value.length),
    };
    if (sample->value.exemplar != NULL)
        keep_exemplar(batch, item, sample->value.exemplar);
    if (item->watched) {
        item->sample_at = keep(batch, origin->sample, origin->sample_length);
        item->sample_length = origin->sample_length;
    }
    if (batch->texts.failed) { /* as if it had never come */
        batch->texts.failed = false;
        batch->texts.length = length;
        batch->label_count -= item->exemplar.label_count;
        return false;
    }
    batch->count++;
    return true;
}

/* ---- Running ------------------------------------------------------------------------------- */

/* Lets the exemplar's labels point to their texts; returns where the next ones go. */
static struct rasad_label *point_labels(const struct batch *batch, struct batch_item *item,
                                        struct rasad_label *labels)
{
    const char *at = batch_text(batch, item->labels_at);

    item->exemplar.labels = labels;
    item->value.exemplar = &item->exemplar;
    for (uint64_t i = 0; i < item->exemplar.label_count; i++, labels++) {
        labels->name = at;
        at += strlen(at) + 1;
        labels->value = at;
        at += strlen(at) + 1;
    }
    return labels;
}

/* Nothing is added any more, so texts stay where they are. Without memory for the labels there are
 * no exemplars, which nothing depends on. */
static void point_texts(struct batch *batch)
{
    struct rasad_label *labels =
        reallocarray(batch->labels, batch->label_count + 1, sizeof *labels);

    if (labels != NULL)
        batch->labels = labels;
    for (size_t i = 0; i < batch->count; i++) {
        struct batch_item *item = &batch->items[i];

        item->value.text = batch_text(batch, item->text_at);
        item->value.exemplar = NULL;
        if (item->has_exemplar && labels != NULL)
            labels = point_labels(batch, item, labels);
    }
}

static struct isolate *isolate_of(const struct batch_item *item)
{
    return item->series->family->aggregate->isolate;
}

static const char *agent_of(const struct batch_item *item)
{
    return item->series->agent != NULL ? item->series->agent->name : NULL;
}

/* Gathers the samples from `first` on that are this isolate's and have not run; how many. */
static size_t take_same(struct batch *batch, size_t first, const bool *done,
                        const struct isolate *isolate)
{
    size_t count = 0;

    for (size_t i = first; i < batch->count; i++) {
        struct batch_item *item = &batch->items[i];

        if (done[i] || isolate_of(item) != isolate)
            continue;
        batch->samples[count] = (struct isolate_sample){
            .state = series_state(item->series), .value = item->value, .agent = agent_of(item)};
        batch->places[count++] = i;
    }
    return count;
}

static void take_verdicts(struct batch *batch, size_t count, bool *done)
{
    for (size_t k = 0; k < count; k++) {
        struct batch_item *item = &batch->items[batch->places[k]];

        item->verdict = batch->samples[k].verdict;
        item->reason = batch->samples[k].reason;
        done[batch->places[k]] = true;
    }
}

void batch_run(struct batch *batch, uint32_t lane)
{
    bool done[ISOLATE_BATCH] = {false};

    point_texts(batch);
    for (size_t i = 0; i < batch->count; i++) {
        struct isolate *isolate = isolate_of(&batch->items[i]);
        size_t count;

        if (done[i])
            continue;
        count = take_same(batch, i, done, isolate);
        isolate_update(isolate, lane, batch->samples, count);
        take_verdicts(batch, count, done);
    }
}
