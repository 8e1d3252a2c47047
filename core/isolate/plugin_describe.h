/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * plugin_describe: what a plugin says of itself, learnt without running a line of it here: a
 * worker's process loads it and tells. So the conf of an isolated metric is read like any other's.
 * Threads: none inside. Memory: what is described is the plugin's.
 */
#include <stdbool.h>

#include "base/error.h"
#include "base/text.h"
#include "plugin.h"

/* Fills in plugin->api of a plugin that was taken, and not loaded: all but the functions. The error
 * starts with the path. */
bool plugin_describe(struct plugin *plugin, const char *name, struct rasad_error *error);

/* The other side: what a loaded plugin says, as bytes. */
void plugin_describe_write(const struct plugin *plugin, struct text *out);

/* The bytes as they are in plugin->api; false if they are no description. What they say is not
 * checked yet. */
bool plugin_describe_read(struct plugin *plugin, const char *bytes, size_t length);
