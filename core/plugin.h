/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * plugin: a metric type's shared object, loaded and found complete, and the shelf of all that the
 * conf names. What a plugin is, rasad/plugin.h tells.
 * Threads: opening and closing from one thread; `api` may be used by all.
 */
#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"
#include "base/module.h"

struct plugin {
    struct module module;
    struct rasad_plugin api; /* the plugin's own struct, with zeros where it is an older one */
    char *path;              /* owned: where it was found */
};

/* Loads the plugin in this file; it must be complete and called `name`. The error starts with the
 * path. To be ended with plugin_close(). */
bool plugin_open(const char *path, const char *name, struct plugin **out,
                 struct rasad_error *error);

void plugin_close(struct plugin *plugin);

/* Row `i` of the option table, whole even if the plugin was made for a smaller row. */
struct rasad_option plugin_option(const struct plugin *plugin, size_t i);

/* The plugins in use: each name is loaded once, from the first folder that has NAME.so. */
struct plugin_shelf {
    const char *const *folders; /* lent: plugin_path of the conf */
    size_t folder_count;
    struct plugin **plugins; /* owned */
    size_t count;
};

/*
 * The plugin of this name, loaded if it isn't yet; owned by the shelf. On NULL the error says why;
 * if no folder has it: `unknown plugin "guage" (did you mean "gauge"?)`.
 */
const struct plugin *plugin_shelf_get(struct plugin_shelf *shelf, const char *name,
                                      struct rasad_error *error);

/* Closes all plugins. */
void plugin_shelf_free(struct plugin_shelf *shelf);
