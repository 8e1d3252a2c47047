/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * work: what the processes of a check do. Each of these is the whole life of one (process.h): it
 * gets the check, writes what it finds on the slate, and ends. Inside of laws.
 * Threads: one. Memory: the process's.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "laws/laws.h"
#include "laws/slate.h"

/* One check of one plugin, and what the process that runs at the moment shall do. */
struct check {
    const struct plugin *plugin;
    const struct laws_options *options;
    struct slate *slate; /* shared with that process */
    int64_t deadline_ns;

    unsigned law;
    uint64_t conf;                /* the seed of its conf */
    uint64_t cases;               /* how many */
    const struct law_case *given; /* this one only, or NULL */
    bool quickly;
};

/* Draws confs and asks configure(); leaves the seeds of those that it takes. */
void work_confs(void *check);

/* Tries one law under one conf. */
void work_law(void *check);

/* Tries all laws under one conf, one after the other and under all guards at once. */
void work_quickly(void *check);

/* Measures the time of update(). */
void work_measure(void *check);
