/* SPDX-License-Identifier: Apache-2.0 */
#include "handover/handover_numbers.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server.h"

/* More than there are. */
#define MOST_NUMBERS 64

/* One walk over all of them serves both ways. */
struct walk {
    struct server *server;
    struct handover_number *numbers;
    size_t count;
    bool adopts;
};

/* Adds the value under this name, or makes it what stands under it. */
__attribute__((format(printf, 3, 4))) static void meet(struct walk *walk, uint64_t *value,
                                                       const char *format, ...)
{
    struct handover_number number = {.value = *value};
    va_list arguments;

    va_start(arguments, format);
    (void)vsnprintf(number.name, sizeof number.name, format, arguments);
    va_end(arguments);
    if (!walk->adopts && walk->count < MOST_NUMBERS)
        walk->numbers[walk->count++] = number;
    for (size_t i = 0; walk->adopts && i < walk->count; i++) {
        if (strcmp(walk->numbers[i].name, number.name) == 0)
            *value = walk->numbers[i].value;
    }
}

static void meet_counter(struct walk *walk, _Atomic uint64_t *counter, const char *name)
{
    uint64_t value = atomic_load(counter);

    meet(walk, &value, "%s", name);
    atomic_store(counter, value);
}

/* A counter at this offset of struct counters: the sum over all shards becomes the first one's. */
static void meet_total(struct walk *walk, size_t offset, const char *name, const char *reason)
{
    struct server *server = walk->server;
    uint64_t value = shards_sum(server->shards, server->common.shard_count, offset);
    char *first = (char *)&server->shards[0].ingest.counters;

    meet(walk, &value, "%s%s", name, reason);
    if (walk->adopts)
        atomic_store((_Atomic uint64_t *)(void *)(first + offset), value);
}

static void meet_timing(struct walk *walk, struct timing *timing, const char *name)
{
    for (int i = 0; i <= TIMING_BOUNDS; i++) {
        uint64_t value = atomic_load(&timing->counts[i]);

        meet(walk, &value, "%s %d", name, i);
        atomic_store(&timing->counts[i], value);
    }
    meet_counter(walk, &timing->sum_ns, name);
}

static void meet_reloads(struct walk *walk, struct reloads *reloads)
{
    uint64_t last = (uint64_t)atomic_load(&reloads->last_success_ns);

    meet_counter(walk, &reloads->succeeded, "reloads succeeded");
    meet_counter(walk, &reloads->failed, "reloads failed");
    meet(walk, &last, "last reload");
    atomic_store(&reloads->last_success_ns, (int64_t)last);
}

static void meet_all(struct walk *walk)
{
    struct server *server = walk->server;
    uint64_t start = (uint64_t)server->source.start_ns;

    meet(walk, &start, "start");
    server->source.start_ns = (int64_t)start;
    meet_total(walk, offsetof(struct counters, messages), "messages", "");
    meet_total(walk, offsetof(struct counters, clamped_times), "clamped times", "");
    meet_total(walk, offsetof(struct counters, connections), "connections", "");
    for (int i = 0; i < REJECT_COUNT; i++)
        meet_total(walk, offsetof(struct counters, rejected) + (size_t)i * sizeof(uint64_t),
                   "rejected ", reject_word((enum reject)i));
    meet_counter(walk, &server->listener.refused, "refused connections");
    meet(walk, &server->listener.unix_peers, "unix peers");
    meet_reloads(walk, &server->reloads);
    meet_counter(walk, &server->publisher.errors, "commit errors");
    meet_timing(walk, &server->publisher.took, "commits");
    meet_timing(walk, &server->source.took, "scrapes");
}

bool handover_numbers_collect(struct server *server, struct handover *handover)
{
    struct walk walk = {.server = server, .numbers = calloc(MOST_NUMBERS, sizeof *walk.numbers)};

    handover->numbers = walk.numbers;
    if (walk.numbers == NULL)
        return false;
    meet_all(&walk);
    handover->number_count = walk.count;
    return true;
}

void handover_numbers_adopt(struct server *server, const struct handover *handover)
{
    struct walk walk = {.server = server,
                        .numbers = handover->numbers,
                        .count = handover->number_count,
                        .adopts = true};

    meet_all(&walk);
}
