/* SPDX-License-Identifier: Apache-2.0 */
#include "isolate/lane.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/memory_file.h"
#include "base/scoped.h"

/* Parts of the memory are multiples of this, which is one of every page size that we meet. */
#define ROUND UINT64_C(65536)

struct lane lane_make(struct keeper *keeper, uint32_t index)
{
    return (struct lane){
        .keeper = keeper, .index = index, .memory = -1, .hand.process = -1, .status = -1};
}

static size_t memory_bytes(const struct lane *lane)
{
    return channel_bytes(lane->channel.request_bytes, lane->channel.answer_bytes);
}

void lane_end_hand(struct lane *lane)
{
    lane->status = keeper_end_hand(lane->keeper, &lane->hand);
}

static void drop_memory(struct lane *lane)
{
    if (lane->memory < 0)
        return;
    (void)munmap(lane->channel.control, memory_bytes(lane));
    (void)close(lane->memory);
    lane->memory = -1;
    lane->channel = (struct channel){0};
}

void lane_close(struct lane *lane)
{
    lane_end_hand(lane);
    drop_memory(lane);
}

void lane_shrink(struct lane *lane, size_t most_bytes)
{
    if (lane->memory >= 0 && memory_bytes(lane) > most_bytes)
        lane_close(lane);
}

/* Sealed, so that nobody on the other side can cut it short under us. */
static bool make_memory(struct lane *lane, size_t request_bytes, size_t answer_bytes,
                        struct rasad_error *error)
{
    size_t bytes;
    void *at;
    SCOPED(close_at) int memory = memory_file("rasad-channel");

    request_bytes = (request_bytes + ROUND - 1) & ~(ROUND - 1);
    answer_bytes = (answer_bytes + ROUND - 1) & ~(ROUND - 1);
    bytes = channel_bytes(request_bytes, answer_bytes);
    if (memory < 0 || ftruncate(memory, (off_t)bytes) != 0 ||
        fcntl(memory, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0)
        return rasad_fail(error, "cannot make shared memory: %s", strerror(errno));
    at = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, memory, 0);
    if (at == MAP_FAILED)
        return rasad_fail(error, "cannot map shared memory: %s", strerror(errno));
    lane->memory = take_fd(&memory);
    lane->channel = channel_at(at, request_bytes, answer_bytes);
    return true;
}

/* Waits until the owner word is something else; false if it isn't by then. */
static bool await_change(struct channel_control *control, uint32_t from, int64_t deadline_ns)
{
    const struct timespec deadline = {.tv_sec = deadline_ns / NS_PER_S,
                                      .tv_nsec = deadline_ns % NS_PER_S};

    /* Pairs with the hand's store: what it wrote before is there when the word has changed. */
    while (atomic_load_explicit(&control->owner, memory_order_acquire) == from) {
        if (syscall(SYS_futex, &control->owner, FUTEX_WAIT_BITSET, from, &deadline, NULL,
                    FUTEX_BITSET_MATCH_ANY) != 0 &&
            errno == ETIMEDOUT)
            return atomic_load_explicit(&control->owner, memory_order_acquire) != from;
    }
    return true;
}

/* The hand has closed its sandbox and is idle, or it never will be. */
static bool await_hand(struct lane *lane)
{
    struct channel_control *control = lane->channel.control;
    uint32_t busy = (uint32_t)lane->hand.pid | FUTEX_WAITERS;

    if (atomic_load_explicit(&control->owner, memory_order_acquire) == 0)
        return false; /* the keeper has seen it end before it began */
    (void)await_change(control, busy, clock_steady_ns() + KEEPER_PATIENCE_NS);
    return atomic_load_explicit(&control->owner, memory_order_acquire) == lane->owner;
}

static bool start_hand(struct lane *lane, struct rasad_error *error)
{
    struct channel_control *control = lane->channel.control;

    atomic_store_explicit(&control->bell, 0, memory_order_relaxed);
    atomic_store_explicit(&control->owner, 0, memory_order_relaxed);
    if (!keeper_start_hand(lane->keeper, lane->index, lane->memory, lane->channel.request_bytes,
                           lane->channel.answer_bytes, &lane->hand, error))
        return false;
    lane->owner = (uint32_t)lane->hand.pid;
    lane->jobs = 0;
    lane->started++;
    if (!await_hand(lane)) {
        char end[64];

        lane_end_hand(lane);
        keeper_say_end(lane->status, end);
        return rasad_fail(error, "its worker's process died at its start: %s", end);
    }
    lane->missing = control->missing;
    return true;
}

/* Whether the hand that we think of is idle and not dead. */
static bool is_alive(const struct lane *lane)
{
    return lane->hand.process >= 0 &&
           atomic_load_explicit(&lane->channel.control->owner, memory_order_relaxed) == lane->owner;
}

bool lane_ready(struct lane *lane, size_t request_bytes, size_t answer_bytes,
                struct rasad_error *error)
{
    if (lane->memory >= 0 &&
        (lane->channel.request_bytes < request_bytes || lane->channel.answer_bytes < answer_bytes))
        lane_close(lane);
    if (lane->memory < 0 && !make_memory(lane, request_bytes, answer_bytes, error))
        return false;
    if (is_alive(lane))
        return true;
    lane_end_hand(lane);
    return start_hand(lane, error);
}

/* Hands the word over to the hand as a lock that it holds; false if it is dead. The kernel marks
 * the word of a hand that dies, either before, and the exchange fails, or after, and we are woken.
 */
static bool post(struct lane *lane)
{
    struct channel_control *control = lane->channel.control;
    uint32_t idle = lane->owner;

    if (!atomic_compare_exchange_strong(&control->owner, &idle, lane->owner | FUTEX_WAITERS))
        return false;
    (void)atomic_fetch_add_explicit(&control->bell, 1, memory_order_release);
    (void)syscall(SYS_futex, &control->bell, FUTEX_WAKE, 1, NULL, NULL, 0);
    return true;
}

enum lane_end lane_run(struct lane *lane, int64_t timeout_ns)
{
    struct channel_control *control = lane->channel.control;
    bool posted = post(lane), in_time = true;

    lane->jobs++;
    if (posted)
        in_time =
            await_change(control, lane->owner | FUTEX_WAITERS, clock_steady_ns() + timeout_ns);
    if (posted && in_time &&
        atomic_load_explicit(&control->owner, memory_order_acquire) == lane->owner)
        return LANE_DONE;
    lane_end_hand(lane);
    if (!in_time)
        return LANE_HUNG;
    /* A plugin can't send SIGKILL, and nobody knows of a hand whose keeper died as well. */
    return lane->status < 0 || (WIFSIGNALED(lane->status) && WTERMSIG(lane->status) == SIGKILL)
               ? LANE_LOST
               : LANE_DIED;
}
