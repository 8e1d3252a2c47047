/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * conf_plugin: what a `metric` section may hold beyond the options that all of them have: the
 * option table of its plugin, and the config struct that it fills. Inside of conf.
 * Threads: as conf_schema. Memory: as said below.
 */
#include <stdbool.h>
#include <stddef.h>

#include "base/conf_schema.h"
#include "plugin.h"

/*
 * The rows in `common` and behind them the plugin's (which may be NULL: none), in an array that the
 * caller frees. Fails if the plugin's table is wrong or takes a name of `common`.
 */
bool conf_plugin_rows(const struct plugin *plugin, const struct rasad_option *common, size_t count,
                      struct rasad_option **rows, size_t *row_count, struct rasad_error *error);

/*
 * Makes the plugin's config struct from its rows and the section, and has the plugin check it.
 * `*config` is NULL if the plugin has none; it ends with conf_plugin_release(). On false the tree
 * has the complaint.
 */
bool conf_plugin_configure(struct conf_tree *tree, const struct conf_statement *section,
                           const struct plugin *plugin, const struct rasad_option *rows,
                           size_t row_count, void **config);

/* Ends a config struct; NULL is fine. */
void conf_plugin_release(const struct plugin *plugin, void *config);
