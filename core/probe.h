/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * probe: a plugin is tried in a process of its own, the worker (worker/worker.h), before the server
 * loads it: whatever it does there, it does to the worker. The worker gets the plugin's sealed copy
 * and a pipe for its words, a fresh signal state, and no other descriptor of ours; when the answer
 * is there or its time is up, its whole process group is ended and it is waited for, so nothing
 * stays behind.
 *
 * The words are lines: `at STAGE` (what a crash is said to happen in), `ok`, or `no REASON`.
 * Threads: none inside; it needs no SIGCHLD and waits for no child but its own, so any thread of
 * the server may call it. It blocks for as long as the plugin takes, at most the deadline.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "plugin.h"

/* Whether the plugin, which was taken but not loaded, loads under this name, is complete, starts no
 * thread and keeps the quick laws. The error names no path. Fits `vet` of struct plugin_shelf. */
bool probe_plugin(const struct plugin *plugin, const char *name, struct rasad_error *error);

/* How `rasadctl check` wants all laws checked. */
struct probe_laws {
    uint64_t seed;               /* of all randomness */
    const struct plugin *older;  /* an older build of it, taken, or NULL */
    const char *const *settings; /* statements of a conf that all its configs shall have */
    size_t setting_count;
    bool json; /* the report is one JSON object */
};

/* Has the worker check all laws and print the report on our standard output. False with a reason if
 * it could not come to its end; else `*holds`. The error names no path. */
bool probe_laws(const struct plugin *plugin, const char *name, const struct probe_laws *laws,
                bool *holds, struct rasad_error *error);
