/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * plugin: a metric type's shared object, loaded and found complete, and the shelf of all that the
 * conf names. What a plugin is, rasad/plugin.h tells.
 * Threads: opening, closing and counting references from one thread at a time; `api` may be used by
 * all.
 */
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/module.h"

struct plugin {
    struct module module;
    struct rasad_plugin api; /* the plugin's own struct, with zeros where it is an older one */
    bool migrates;           /* it has a migrate() */
    void *described; /* owned: what `api` points to, if it was only described (plugin_describe.h) */
    char *path;      /* owned: where it was found */
    uint32_t references; /* shelves of conf generations that have it */
};

/* Takes a private copy of the file; nothing of it runs, and there is no `api` yet. The error starts
 * with the path. To be ended with plugin_unref(). */
bool plugin_take(const char *path, struct plugin **out, struct rasad_error *error);

/* The same in another process, of the copy's descriptor, which is the plugin's then, even on false.
 * The path is for messages only. */
bool plugin_adopt(int fd, const char *path, struct plugin **out, struct rasad_error *error);

/* Loads what was taken; it must be complete and called `name`. The error starts with the path. */
bool plugin_load(struct plugin *plugin, const char *name, struct rasad_error *error);

/* plugin_take() and plugin_load(). */
bool plugin_open(const char *path, const char *name, struct plugin **out,
                 struct rasad_error *error);

struct plugin *plugin_ref(struct plugin *plugin);

/* Gives a reference back; the last one unloads it. False if its code could not be unloaded. NULL is
 * fine. */
bool plugin_unref(struct plugin *plugin);

/* Whether what the plugin says of itself is whole, and it is called `name`; the error names no
 * path.
 */
bool plugin_check_description(const struct plugin *plugin, const char *name,
                              struct rasad_error *error);

/* Whether nothing of it runs in this process: it was described, and has no functions here. */
static inline bool plugin_is_isolated(const struct plugin *plugin)
{
    return plugin->described != NULL;
}

/* Row `i` of the option table, whole even if the plugin was made for a smaller row. */
struct rasad_option plugin_option(const struct plugin *plugin, size_t i);

/* Looks at a plugin that was taken, in a process of its own; false if it must not be loaded. */
typedef bool plugin_vet(const struct plugin *plugin, const char *name, struct rasad_error *error);

/* Fills in the `api` of a plugin that was taken and is to run isolated. */
typedef bool plugin_describer(struct plugin *plugin, const char *name, struct rasad_error *error);

/* The plugins in use by one conf: each name is loaded once, from the first folder that has NAME.so,
 * and stands here once more if it is isolated somewhere. */
struct plugin_shelf {
    const char *const *folders; /* lent: plugin_path of the conf */
    size_t folder_count;
    struct plugin **plugins; /* a reference to each */
    size_t count;
    /* The shelf of the conf that runs now, or NULL: a plugin whose file is the same to the byte is
     * taken from there and not loaded a second time. Needed until all are got. */
    const struct plugin_shelf *previous;
    plugin_vet *vet;            /* NULL: nobody looks at a plugin before it is loaded */
    plugin_describer *describe; /* needed for isolated ones */
    _Atomic uint64_t *leaked;   /* counts those that could not be unloaded; NULL: nobody asks */
};

/*
 * The plugin of this name, loaded if it isn't yet; owned by the shelf. On NULL the error says why;
 * if no folder has it: `unknown plugin "guage" (did you mean "gauge"?)`.
 */
struct plugin *plugin_shelf_get(struct plugin_shelf *shelf, const char *name,
                                struct rasad_error *error);

/* The same of one that is to run isolated. */
struct plugin *plugin_shelf_get_isolated(struct plugin_shelf *shelf, const char *name,
                                         struct rasad_error *error);

/* Gives all plugins back. */
void plugin_shelf_free(struct plugin_shelf *shelf);
