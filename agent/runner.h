/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * runner: calls each collector at its interval. A collector is first called at once, which lets it
 * note where counts stand, and again after its interval or half a second, if that is shorter, so
 * that first values come soon. Ticks that were missed (the host slept) are left out.
 * Threads: all from one. Time: passed in (monotonic, nanoseconds).
 * Memory:  owns its collectors.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/log.h"
#include "collector.h"
#include "output.h"

/* A collector at work. */
struct runner_task {
    struct collector *collector; /* owned */
    int64_t interval_ns;
    int64_t due_ns;  /* 0: at once */
    bool primed;     /* was called before */
    bool complained; /* its failure is logged, and it hasn't recovered */
    bool undeclared; /* its undeclared key is logged */
};

/* Where a runner's messages and pings go. */
struct runner_sink {
    void *user;
    void (*push)(void *user, const char *bytes, size_t length);
    void (*ping)(void *user, uint64_t token); /* the token comes back in runner_pong() */
};

struct runner {
    const struct log *log; /* lent */
    const char *proc;      /* lent: the folder that stands for /proc */
    struct runner_sink sink;
    uint64_t random; /* source of the collectors' seeds; any value */
    struct runner_task *tasks;
    size_t task_count;
    size_t current; /* the task that is called now */
    struct output output;
};

/* Takes a collector over, to be called every interval_ns (0: as the collector likes it). */
bool runner_add(struct runner *runner, struct collector *collector, int64_t interval_ns,
                struct rasad_error *error);

/* When the next call is due; INT64_MAX without collectors. */
int64_t runner_due_ns(const struct runner *runner);

/* Calls all collectors whose time has come. */
void runner_run(struct runner *runner, int64_t now_ns);

/* Hands an answer to the collector that pinged. */
void runner_pong(struct runner *runner, uint64_t token, int64_t rtt_ns, int64_t now_ns);

/* Closes all collectors. Fits SCOPED. */
void runner_free(struct runner *runner);
