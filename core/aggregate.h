/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * aggregate: a plugin under a config, which is what makes, joins, shows and brings over the states
 * of a metric. Only update() is not here: ingest calls it itself, a few million times a second.
 * Threads: any, once it is open.
 * Memory: owns the config and the fresh state; the plugin is lent by the conf's shelf.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "plugin.h"

/* The most bytes that a state may take. */
#define AGGREGATE_MAX_STATE (1 << 20)

struct isolate;
struct isolate_house;

struct aggregate {
    const struct plugin *plugin;
    struct isolate *isolate; /* where the plugin runs; NULL: here, in this process */
    void *config;            /* the plugin's config struct; NULL if it has none */
    bool configured;         /* configure() said yes to it, so release() must end it */
    char *section;           /* its options as a conf of their own, which a worker can be told */
    char *shape;             /* those of them that shape states */
    size_t exact_size;       /* of a state, as the plugin says */
    size_t state_size;       /* that, rounded up to 8 bytes: what is kept */
    void *fresh;             /* a fresh state; init() is deterministic, so one is enough */
};

/* Learns from the plugin what a state is; plugin, config and shape are set. False if the plugin
 * can't have meant it, or if there is no memory. */
bool aggregate_open(struct aggregate *aggregate, struct rasad_error *error);

/* The same of a plugin that runs isolated, with so much time for a batch; the section is set. No
 * sample is taken before aggregate_begin(). */
bool aggregate_isolate(struct aggregate *aggregate, const char *metric, int64_t timeout_ns,
                       struct rasad_error *error);

/* Lets it work in this house, if it is isolated; before all that follows. */
bool aggregate_begin(struct aggregate *aggregate, const struct isolate_house *house,
                     struct rasad_error *error);

/* Frees what these made. */
void aggregate_close(struct aggregate *aggregate);

/* Makes a fresh state. */
void aggregate_init(const struct aggregate *aggregate, void *state);

/* Makes `into` the state of both; false, with `into` as it was, if an isolated plugin can't. */
bool aggregate_merge(const struct aggregate *aggregate, void *into, const void *from,
                     struct rasad_error *error);

/* Writes a state's points; false if an isolated plugin can't: then there are none. */
bool aggregate_render(const struct aggregate *aggregate, const void *state,
                      struct rasad_writer *writer);

/* Makes a state out of one of this version and size, which another version of the plugin, or one
 * under another config, has made. */
bool aggregate_migrate(const struct aggregate *aggregate, uint32_t from_version, const void *from,
                       size_t size, void *into, struct rasad_error *error);
