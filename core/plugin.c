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

static bool check_complete(const struct plugin *plugin, const char *name, struct rasad_error *error)
{
    const struct rasad_plugin *api = &plugin->api;
    const struct {
        const char *name;
        bool there;
    } parts[] = {
        {"name", module_is_name(api->name)},
        {"version", api->version != NULL},
        {"help", api->help != NULL},
        {"state_version", api->state_version >= 1},
        {"state_size", api->state_size},
        {"init", api->init},
        {"update", api->update},
        {"merge", api->merge},
        {"render", api->render},
    };

    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        if (!parts[i].there)
            return rasad_fail(error, "incomplete: it has no %s", parts[i].name);
    }
    if (api->kind < RASAD_GAUGE || api->kind > RASAD_SUMMARY)
        return rasad_fail(error, "of kind %u, which this server doesn't know", api->kind);
    if (strcmp(api->name, name) != 0)
        return rasad_fail(error, "it calls itself \"%s\" (name the file %s.so)", api->name,
                          api->name);
    return check_options(plugin, error);
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
    return true;
}

static void plugin_close_at(struct plugin **plugin)
{
    plugin_close(*plugin);
}

bool plugin_open(const char *path, const char *name, struct plugin **out, struct rasad_error *error)
{
    static const struct module_kind kind = {
        .what = "plugin",
        .note_owner = RASAD_NOTE_OWNER,
        .abi = RASAD_ABI,
        .symbol = "rasad_plugin",
    };
    SCOPED(plugin_close_at) struct plugin *plugin = calloc(1, sizeof *plugin);

    if (plugin == NULL)
        return rasad_fail_memory(error);
    plugin->module.fd = -1;
    if ((plugin->path = strdup(path)) == NULL)
        return rasad_fail_memory(error);
    if (!module_open(path, &kind, &plugin->module, error))
        return false;
    if (!read_api(plugin, error) || !check_complete(plugin, name, error))
        return rasad_fail_at(error, "%s", path);
    *out = TAKE(plugin);
    return true;
}

void plugin_close(struct plugin *plugin)
{
    if (plugin == NULL)
        return;
    module_close(&plugin->module);
    free(plugin->path);
    free(plugin);
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

const struct plugin *plugin_shelf_get(struct plugin_shelf *shelf, const char *name,
                                      struct rasad_error *error)
{
    char path[PATH_MAX];
    struct plugin **grown;

    for (size_t i = 0; i < shelf->count; i++) {
        if (strcmp(shelf->plugins[i]->api.name, name) == 0)
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
    if (!plugin_open(path, name, &grown[shelf->count], error))
        return NULL;
    return shelf->plugins[shelf->count++];
}

void plugin_shelf_free(struct plugin_shelf *shelf)
{
    for (size_t i = 0; i < shelf->count; i++)
        plugin_close(shelf->plugins[i]);
    free(shelf->plugins);
    *shelf = (struct plugin_shelf){0};
}
