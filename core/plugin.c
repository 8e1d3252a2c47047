/* SPDX-License-Identifier: Apache-2.0 */
#include "plugin.h"

#include <stdlib.h>
#include <string.h>

#include "base/scoped.h"

static bool check_options(const struct plugin *plugin, struct rasad_error *error)
{
    static const size_t sizes[] = {
        0,
        sizeof(double),
        sizeof(int64_t),
        sizeof(bool),
        sizeof(const char *),
        sizeof(int64_t),
        sizeof(struct rasad_numbers),
        sizeof(struct rasad_texts),
    };

    if (plugin->api.option_count > 0 && plugin->api.options == NULL)
        return rasad_fail(error, "incomplete: it has options, but no table of them");
    for (size_t i = 0; i < plugin->api.option_count; i++) {
        struct rasad_option row = plugin_option(plugin, i);

        if (!module_is_name(row.name))
            return rasad_fail(error, "incomplete: option %zu has no proper name", i + 1);
        if (row.help == NULL)
            return rasad_fail(error, "incomplete: option \"%s\" has no help", row.name);
        if (row.type < RASAD_OPTION_TYPE_NUMBER || row.type > RASAD_OPTION_TYPE_TEXTS)
            return rasad_fail(error, "option \"%s\" is of an unknown type", row.name);
        if (row.offset + sizes[row.type] > plugin->api.config_size)
            return rasad_fail(error, "option \"%s\" lies outside the config struct", row.name);
    }
    return true;
}

struct part {
    const char *name;
    bool there;
};

static bool check_parts(const struct part *parts, size_t count, struct rasad_error *error)
{
    for (size_t i = 0; i < count; i++) {
        if (!parts[i].there)
            return rasad_fail(error, "incomplete: it has no %s", parts[i].name);
    }
    return true;
}

bool plugin_check_description(const struct plugin *plugin, const char *name,
                              struct rasad_error *error)
{
    const struct rasad_plugin *api = &plugin->api;
    const struct part parts[] = {
        {"name", module_is_name(api->name)},
        {"version", api->version != NULL},
        {"help", api->help != NULL},
        {"state_version", api->state_version >= 1},
    };

    if (!check_parts(parts, sizeof parts / sizeof *parts, error))
        return false;
    if (api->kind < RASAD_GAUGE || api->kind > RASAD_SUMMARY)
        return rasad_fail(error, "of kind %u, which this server doesn't know", api->kind);
    if (strcmp(api->name, name) != 0)
        return rasad_fail(error, "it calls itself \"%s\" (name the file %s.so)", api->name,
                          api->name);
    return check_options(plugin, error);
}

static bool check_complete(const struct plugin *plugin, const char *name, struct rasad_error *error)
{
    const struct rasad_plugin *api = &plugin->api;
    const struct part parts[] = {
        {"state_size", api->state_size != NULL}, {"init", api->init != NULL},
        {"update", api->update != NULL},         {"merge", api->merge != NULL},
        {"render", api->render != NULL},
    };

    return plugin_check_description(plugin, name, error) &&
           check_parts(parts, sizeof parts / sizeof *parts, error);
}

/* Copies what the plugin has of the struct; what it was compiled without stays zero. */
static bool read_api(struct plugin *plugin, struct rasad_error *error)
{
    const struct rasad_plugin *theirs = plugin->module.symbol;
    uint32_t size;

    if (theirs->magic != RASAD_MAGIC)
        return rasad_fail(error, "rasad_plugin doesn't begin with RASAD_PLUGIN_HEAD");
    if (theirs->abi != RASAD_ABI)
        return rasad_fail(error, "made for plugin ABI %u, but this is ABI %u (compile it anew)",
                          theirs->abi, RASAD_ABI);
    size = theirs->size < sizeof plugin->api ? theirs->size : sizeof plugin->api;
    if (theirs->size < offsetof(struct rasad_plugin, migrate))
        return rasad_fail(error, "incomplete: its struct has %u bytes only", theirs->size);
    memcpy(&plugin->api, theirs, size);
    plugin->migrates = plugin->api.migrate != NULL;
    return true;
}

static void plugin_unref_at(struct plugin **plugin)
{
    (void)plugin_unref(*plugin);
}

static const struct module_kind kind = {
    .what = "plugin",
    .note_owner = RASAD_NOTE_OWNER,
    .abi = RASAD_ABI,
    .symbol = "rasad_plugin",
};

static struct plugin *plugin_new(const char *path)
{
    SCOPED(plugin_unref_at) struct plugin *plugin = calloc(1, sizeof *plugin);

    if (plugin == NULL)
        return NULL;
    plugin->references = 1;
    plugin->module.fd = -1;
    if ((plugin->path = strdup(path)) == NULL)
        return NULL;
    return TAKE(plugin);
}

bool plugin_take(const char *path, struct plugin **out, struct rasad_error *error)
{
    SCOPED(plugin_unref_at) struct plugin *plugin = plugin_new(path);

    if (plugin == NULL)
        return rasad_fail_memory(error);
    if (!module_take(path, &kind, &plugin->module, error))
        return false;
    *out = TAKE(plugin);
    return true;
}

bool plugin_adopt(int fd, const char *path, struct plugin **out, struct rasad_error *error)
{
    SCOPED(plugin_unref_at) struct plugin *plugin = plugin_new(path);

    if (plugin == NULL) {
        close_at(&fd);
        return rasad_fail_memory(error);
    }
    if (!module_adopt(fd, &kind, &plugin->module, error))
        return rasad_fail_at(error, "%s", path);
    *out = TAKE(plugin);
    return true;
}

bool plugin_load(struct plugin *plugin, const char *name, struct rasad_error *error)
{
    if (module_load(&plugin->module, &kind, error) && read_api(plugin, error) &&
        check_complete(plugin, name, error))
        return true;
    return rasad_fail_at(error, "%s", plugin->path);
}

bool plugin_open(const char *path, const char *name, struct plugin **out, struct rasad_error *error)
{
    SCOPED(plugin_unref_at) struct plugin *plugin = NULL;

    if (!plugin_take(path, &plugin, error) || !plugin_load(plugin, name, error))
        return false;
    *out = TAKE(plugin);
    return true;
}

struct plugin *plugin_ref(struct plugin *plugin)
{
    plugin->references++;
    return plugin;
}

bool plugin_unref(struct plugin *plugin)
{
    bool gone;

    if (plugin == NULL || --plugin->references > 0)
        return true;
    gone = module_close(&plugin->module);
    free(plugin->described);
    free(plugin->path);
    free(plugin);
    return gone;
}

struct rasad_option plugin_option(const struct plugin *plugin, size_t i)
{
    struct rasad_option row = {0};
    size_t size = plugin->api.option_size < sizeof row ? plugin->api.option_size : sizeof row;

    memcpy(&row, (const char *)plugin->api.options + i * plugin->api.option_size, size);
    return row;
}

static bool fail_unknown(const struct plugin_shelf *shelf, const char *name,
                         struct rasad_error *error)
{
    char nearest[MODULE_NAME_LENGTH];

    module_nearest(shelf->folders, shelf->folder_count, name, nearest);
    if (nearest[0] != '\0')
        return rasad_fail(error, "unknown plugin \"%s\" (did you mean \"%s\"?)", name, nearest);
    return rasad_fail(error, "unknown plugin \"%s\" (no folder of plugin_path has a %s.so)", name,
                      name);
}

/* The plugin that is in use already, if the file at `taken` is the same to the byte. */
static struct plugin *find_same(const struct plugin_shelf *shelf, const char *name, bool isolated,
                                const struct plugin *taken)
{
    const struct plugin_shelf *previous = shelf->previous;

    for (size_t i = 0; previous != NULL && i < previous->count; i++) {
        struct plugin *plugin = previous->plugins[i];

        if (plugin_is_isolated(plugin) == isolated && strcmp(plugin->api.name, name) == 0 &&
            strcmp(plugin->path, taken->path) == 0 &&
            module_is_same(&plugin->module, &taken->module))
            return plugin;
    }
    return NULL;
}

/* Makes what was taken ready for use. */
static bool make_ready(const struct plugin_shelf *shelf, struct plugin *plugin, const char *name,
                       bool isolated, struct rasad_error *error)
{
    if (isolated)
        return shelf->describe(plugin, name, error);
    if (shelf->vet != NULL && !shelf->vet(plugin, name, error))
        return rasad_fail_at(error, "%s", plugin->path);
    return plugin_load(plugin, name, error);
}

/* Gives a plugin back, and counts it if its code stays. */
static void give_back(const struct plugin_shelf *shelf, struct plugin *plugin)
{
    if (!plugin_unref(plugin) && shelf->leaked != NULL)
        (void)atomic_fetch_add(shelf->leaked, 1);
}

/* A reference to the plugin in this file, vetted and loaded unless it is in use already. */
static struct plugin *open_for(const struct plugin_shelf *shelf, const char *path, const char *name,
                               bool isolated, struct rasad_error *error)
{
    SCOPED(plugin_unref_at) struct plugin *plugin = NULL;
    struct plugin *same;

    if (!plugin_take(path, &plugin, error))
        return NULL;
    same = find_same(shelf, name, isolated, plugin);
    if (same != NULL)
        return plugin_ref(same);
    if (make_ready(shelf, plugin, name, isolated, error))
        return TAKE(plugin);
    give_back(shelf, TAKE(plugin));
    return NULL;
}

static struct plugin *get(struct plugin_shelf *shelf, const char *name, bool isolated,
                          struct rasad_error *error)
{
    char path[PATH_MAX];
    struct plugin **grown;

    for (size_t i = 0; i < shelf->count; i++) {
        if (strcmp(shelf->plugins[i]->api.name, name) == 0 &&
            plugin_is_isolated(shelf->plugins[i]) == isolated)
            return shelf->plugins[i];
    }
    if (!module_find(shelf->folders, shelf->folder_count, name, path)) {
        (void)fail_unknown(shelf, name, error);
        return NULL;
    }
    grown = reallocarray(shelf->plugins, shelf->count + 1, sizeof *grown);
    if (grown == NULL) {
        (void)rasad_fail_memory(error);
        return NULL;
    }
    shelf->plugins = grown;
    grown[shelf->count] = open_for(shelf, path, name, isolated, error);
    if (grown[shelf->count] == NULL)
        return NULL;
    return shelf->plugins[shelf->count++];
}

struct plugin *plugin_shelf_get(struct plugin_shelf *shelf, const char *name,
                                struct rasad_error *error)
{
    return get(shelf, name, false, error);
}

struct plugin *plugin_shelf_get_isolated(struct plugin_shelf *shelf, const char *name,
                                         struct rasad_error *error)
{
    return get(shelf, name, true, error);
}

void plugin_shelf_free(struct plugin_shelf *shelf)
{
    for (size_t i = 0; i < shelf->count; i++)
        give_back(shelf, shelf->plugins[i]);
    free(shelf->plugins);
    *shelf = (struct plugin_shelf){0};
}
