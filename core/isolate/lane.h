/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * lane: one thread's way to a hand of its own: the memory that both share (channel.h), a job at a
 * time, and a deadline. A hand that is late is killed; one that died, or was killed, is replaced
 * before the next job.
 * Threads: one at a time. Memory: the lane's until lane_close().
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "isolate/channel.h"
#include "isolate/keeper.h"

/* How a job ended. */
enum lane_end {
    LANE_DONE,
    LANE_DIED, /* the hand died of itself */
    LANE_HUNG, /* it gave no answer in time */
    LANE_LOST, /* it was killed from outside, or there is none: nothing that a plugin could do */
};

struct lane {
    struct keeper *keeper;
    uint32_t index;
    int memory; /* sealed; -1: there is none yet */
    struct channel channel;
    struct hand hand;
    uint32_t owner;   /* what channel_control.owner holds while the hand is idle */
    uint64_t jobs;    /* that the hand has been given since it was started */
    uint64_t started; /* hands, over all */
    int status;       /* how the last hand ended, as wait(2) has it; -1: nobody knows */
    uint32_t missing; /* steps of its sandbox that the system didn't permit */
};

/* A lane without memory and hand. */
struct lane lane_make(struct keeper *keeper, uint32_t index);

void lane_close(struct lane *lane);

/* Makes sure that there is a hand, on memory with at least so much room. */
bool lane_ready(struct lane *lane, size_t request_bytes, size_t answer_bytes,
                struct rasad_error *error);

/* Has the hand do what lies in the channel; lane_ready() was before. On anything but LANE_DONE it
 * is gone, and lane->status says how. */
enum lane_end lane_run(struct lane *lane, int64_t timeout_ns);

/* Ends the hand: what it left behind is not to be trusted. */
void lane_end_hand(struct lane *lane);

/* Ends the hand and gives its memory back, if it is more than this. */
void lane_shrink(struct lane *lane, size_t most_bytes);
