/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * conf_plugin: what a `metric` section may hold beyond the options that all of them have: the
 * option table of its plugin, and the config struct that it fills.
 * Threads: as conf_schema. Memory: as said below.
 */
#include <stdbool.h>
#include <stddef.h>

#include "aggregate.h"
#include "base/conf_schema.h"
#include "plugin.h"

/*
 * The rows in `common` and behind them the plugin's (which may be NULL: none), in an array that the
 * caller frees. Fails if the plugin's table is wrong or takes a name of `common`.
 */
bool conf_plugin_rows(const struct plugin *plugin, const struct rasad_option *common, size_t count,
                      struct rasad_option **rows, size_t *row_count, struct rasad_error *error);

/*
 * Makes the aggregate of aggregate->plugin under the section's options, which are its rows, and has
 * the plugin check them; an isolated one in its worker, which may take `timeout_ns` for a batch. It
 * ends with conf_plugin_release(), even on false, when the tree has the complaint.
 */
bool conf_plugin_configure(struct conf_tree *tree, const struct conf_statement *section,
                           const struct rasad_option *rows, size_t row_count, int64_t timeout_ns,
                           struct aggregate *aggregate);

/* Ends an aggregate, also one of zeros. */
void conf_plugin_release(struct aggregate *aggregate);
