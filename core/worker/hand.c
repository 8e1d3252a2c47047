/* SPDX-License-Identifier: Apache-2.0 */
#include "hand.h"

#include <linux/futex.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "isolate/point_wire.h"
#include "sandbox.h"

/* Labels of an exemplar; the server sends no more. */
#define MOST_LABELS 64

static const struct channel_job *job_of(const struct hand_work *work)
{
    return (const struct channel_job *)work->channel.request;
}

static void *state_of(const struct hand_work *work, size_t i)
{
    return work->channel.answer + channel_state_at(work->state_bytes, i);
}

static const void *items_of(const struct hand_work *work)
{
    return work->channel.request + channel_items_at();
}

/* ---- The verbs ----------------------------------------------------------------------------- */

/* Reads the exemplar's labels, which lie one behind the other. */
static void read_labels(const char *at, struct rasad_label *labels, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        labels[i].name = at;
        at += strlen(at) + 1;
        labels[i].value = at;
        at += strlen(at) + 1;
    }
}

static void update_one(struct hand_work *work, const struct channel_sample *sample, size_t i)
{
    struct channel_control *control = work->channel.control;
    const char *request = (const char *)work->channel.request;
    struct rasad_label labels[MOST_LABELS];
    struct rasad_exemplar exemplar = {.labels = labels, .label_count = sample->label_count};
    struct rasad_error error;
    struct rasad_value value = {
        .size = sizeof value,
        .type = sample->type,
        .number = sample->number,
        .text = request + sample->text,
        .length = sample->length,
        .time_ns = sample->time_ns,
        .seed = sample->seed,
    };

    if (sample->has_exemplar != 0) {
        read_labels(request + sample->labels, labels, sample->label_count);
        value.exemplar = &exemplar;
    }
    error.text[0] = '\0';
    if (work->api->update(work->config, state_of(work, sample->state), &value, &error)) {
        control->verdicts[i] = CHANNEL_TAKEN;
        return;
    }
    control->verdicts[i] = CHANNEL_REFUSED;
    memcpy(control->reasons[i], error.text, sizeof error.text);
}

static void update(struct hand_work *work)
{
    const struct channel_job *job = job_of(work);
    const struct channel_sample *samples = items_of(work);

    for (uint32_t i = 0; i < job->count; i++)
        update_one(work, &samples[i], i);
}

static void render(struct hand_work *work)
{
    const struct channel_job *job = job_of(work);
    const uint32_t *counts = items_of(work);
    size_t first = 0, at = channel_state_at(work->state_bytes, job->state_count);
    struct point_pen pen =
        point_pen_make(work->channel.answer + at, work->channel.answer_bytes - at, job->now_ns);
    uint32_t i;

    for (i = 0; i < job->count; i++) {
        void *state = state_of(work, first);
        size_t start = pen.used;

        for (uint32_t k = 1; k < counts[i]; k++)
            work->api->merge(work->config, state, state_of(work, first + k));
        work->api->render(work->config, state, &pen.writer);
        if (!point_pen_end(&pen, start))
            break;
        first += counts[i];
    }
    work->channel.control->rendered = i;
    work->channel.control->points_bytes = pen.used;
}

static void merge(struct hand_work *work)
{
    for (uint32_t i = 1; i < job_of(work)->state_count; i++)
        work->api->merge(work->config, state_of(work, 0), state_of(work, i));
}

static void migrate(struct hand_work *work)
{
    const struct channel_job *job = job_of(work);
    const unsigned char *from = items_of(work);
    size_t stride = (job->from_bytes + 15) & ~(size_t)15;

    for (uint32_t i = 0; i < job->count; i++) {
        bool fine = work->api->migrate != NULL &&
                    work->api->migrate(work->config, job->from_version, from + i * stride,
                                       job->from_bytes, state_of(work, i));

        work->channel.control->verdicts[i] = fine ? CHANNEL_TAKEN : CHANNEL_REFUSED;
    }
}

static void work_once(struct hand_work *work)
{
    switch (job_of(work)->verb) {
    case CHANNEL_UPDATE:
        update(work);
        return;
    case CHANNEL_RENDER:
        render(work);
        return;
    case CHANNEL_MERGE:
        merge(work);
        return;
    default:
        migrate(work);
        return;
    }
}

/* ---- Bell and owner ------------------------------------------------------------------------ */

static void futex(_Atomic uint32_t *word, int what, uint32_t value)
{
    (void)syscall(SYS_futex, word, what, value, NULL, NULL, 0);
}

/* Makes the kernel mark and wake the owner word when this process dies, however it does. */
static bool own(struct channel_control *control, uint32_t self)
{
    static struct robust_list node;
    static struct robust_list_head head;

    node.next = &head.list;
    head.list.next = &node;
    head.futex_offset = (long)((uintptr_t)&control->owner - (uintptr_t)&node);
    head.list_op_pending = NULL;
    if (syscall(SYS_set_robust_list, &head, sizeof head) != 0)
        return false;
    atomic_store(&control->owner, self | FUTEX_WAITERS);
    return true;
}

/* Pairs with the server's load of the word: all that was written before is there. */
static void say_done(struct channel_control *control, uint32_t self)
{
    atomic_store_explicit(&control->owner, self, memory_order_release);
    futex(&control->owner, FUTEX_WAKE, 1);
}

_Noreturn void hand_run(struct hand_work *work)
{
    struct channel_control *control = work->channel.control;
    uint32_t self = (uint32_t)gettid(), seen = 0;

    if (!own(control, self))
        _exit(1);
    if (mprotect(work->channel.request, work->channel.request_bytes, PROT_READ) != 0)
        work->missing |= SANDBOX_LIMITS;
    control->missing = work->missing | sandbox_close();
    say_done(control, self);
    for (;;) {
        while (atomic_load_explicit(&control->bell, memory_order_acquire) == seen)
            futex(&control->bell, FUTEX_WAIT, seen);
        seen++;
        work_once(work);
        say_done(control, self);
    }
}
