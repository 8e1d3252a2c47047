/* SPDX-License-Identifier: Apache-2.0 */
#include "exporter/gather_queue.h"

#include <assert.h>
#include <string.h>

static struct rasad_writer *begin(void *context, size_t i)
{
    struct gather *gather = ((struct gather_queue *)context)->gather;

    (void)i;
    point_set_clear(&gather->points, gather->wall_ns);
    return &gather->points.writer;
}

static void end(void *context, size_t i, bool fine)
{
    struct gather_queue *queue = context;
    struct family *family = queue->at[i].family;

    if (fine)
        queue->hand_on(queue->gather, &queue->at[i]);
    else
        (void)atomic_fetch_add_explicit(&family->render_errors, 1, memory_order_relaxed);
}

void gather_queue_run(struct gather_queue *queue)
{
    const struct isolate_sink sink = {begin, end, queue};

    if (queue->count > 0)
        isolate_render_all(queue->isolate, queue->series, queue->count, queue->gather->wall_ns,
                           &sink);
    queue->count = 0;
    queue->state_count = 0;
}

void gather_queue_add(struct gather_queue *queue, const struct gathered *gathered,
                      const void *const *states, size_t count)
{
    assert(count >= 1 && count <= GATHER_QUEUE_STATES);
    if (queue->count == GATHER_QUEUE_SERIES ||
        queue->state_count + count > GATHER_QUEUE_SERIES + GATHER_QUEUE_STATES)
        gather_queue_run(queue);
    memcpy(queue->states + queue->state_count, states, count * sizeof *states);
    queue->at[queue->count] = *gathered;
    queue->series[queue->count] =
        (struct isolate_series){.states = queue->states + queue->state_count, .count = count};
    queue->count++;
    queue->state_count += count;
}
