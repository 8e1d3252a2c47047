/* SPDX-License-Identifier: Apache-2.0 */
#include "conf/conf_plugin.h"

#include <stdlib.h>
#include <string.h>

#include "base/conf_show.h"
#include "base/conf_values.h"
#include "base/error.h"
#include "base/scoped.h"

static bool check_table(const struct plugin *plugin, const struct rasad_option *rows,
                        size_t common_count, size_t row_count, struct rasad_error *error)
{
    for (size_t i = common_count; i < row_count; i++) {
        for (size_t j = 0; j < i; j++) {
            if (strcmp(rows[i].name, rows[j].name) != 0)
                continue;
            return rasad_fail(error, "plugin \"%s\" has an option \"%s\", %s (rename it)",
                              plugin->api.name, rows[i].name,
                              j < common_count ? "as every metric has" : "and that twice");
        }
    }
    if (!conf_check_rows(rows + common_count, row_count - common_count, error))
        return rasad_fail_at(error, "plugin \"%s\"", plugin->api.name);
    return true;
}

bool conf_plugin_rows(const struct plugin *plugin, const struct rasad_option *common, size_t count,
                      struct rasad_option **rows, size_t *row_count, struct rasad_error *error)
{
    size_t more = plugin != NULL ? plugin->api.option_count : 0;
    SCOPED(free_at) struct rasad_option *all = calloc(count + more, sizeof *all);

    if (all == NULL)
        return rasad_fail_memory(error);
    memcpy(all, common, count * sizeof *all);
    for (size_t i = 0; i < more; i++)
        all[count + i] = plugin_option(plugin, i);
    if (plugin != NULL && !check_table(plugin, all, count, count + more, error))
        return false;
    *rows = TAKE(all);
    *row_count = count + more;
    return true;
}

/* The options whose change no state survives, as text that is equal for equal values. */
static char *make_shape(const struct conf_statement *section, const struct rasad_option *rows,
                        size_t row_count, const void *config)
{
    SCOPED(text_free) struct text shape = {0};

    for (size_t i = 0; i < row_count; i++) {
        if ((rows[i].flags & RASAD_OPTION_RESTARTS) != 0)
            conf_show(NULL, &rows[i], 1, config, 0, &shape);
    }
    return shape.failed ? NULL : strdup(text_end(&shape));
}

/* Fills aggregate->config; a config that could not be filled is gone again. */
static bool fill_config(struct conf_tree *tree, const struct conf_statement *section,
                        const struct rasad_option *rows, size_t row_count,
                        struct aggregate *aggregate)
{
    void *config = calloc(1, aggregate->plugin->api.config_size);

    if (config != NULL && conf_fill(tree, section, rows, row_count, config)) {
        aggregate->shape = make_shape(section, rows, row_count, config);
        aggregate->config = config;
        if (aggregate->shape != NULL)
            return true;
    }
    tree->failed |= config == NULL || aggregate->config != NULL;
    if (config != NULL)
        conf_empty(rows, row_count, config);
    free(config);
    aggregate->config = NULL;
    return false;
}

/* Has the plugin check the config, and learns what a state is. */
static bool open_here(struct aggregate *aggregate, struct rasad_error *error)
{
    const struct rasad_plugin *api = &aggregate->plugin->api;

    if (api->configure != NULL && aggregate->config != NULL) {
        aggregate->configured = api->configure(aggregate->config, error);
        if (!aggregate->configured)
            return false;
    }
    return aggregate_open(aggregate, error);
}

/* The section with the plugin's options alone. */
static char *make_section(const struct conf_statement *section, const struct rasad_option *rows,
                          size_t row_count, const void *config)
{
    SCOPED(text_free) struct text told = {0};

    text_add_string(&told, "metric ");
    conf_show_text(section->title, &told);
    text_add_string(&told, " {\n");
    conf_show(NULL, rows, row_count, config, 4, &told);
    text_add_string(&told, "}\n");
    return told.failed ? NULL : strdup(text_end(&told));
}

bool conf_plugin_configure(struct conf_tree *tree, const struct conf_statement *section,
                           const struct rasad_option *rows, size_t row_count, int64_t timeout_ns,
                           struct aggregate *aggregate)
{
    struct rasad_error error = {0};
    bool fine;

    if (aggregate->plugin->api.config_size > 0 &&
        !fill_config(tree, section, rows, row_count, aggregate))
        return false;
    aggregate->section = make_section(section, rows, row_count, aggregate->config);
    if (aggregate->shape == NULL)
        aggregate->shape = strdup("");
    if (aggregate->section == NULL || aggregate->shape == NULL) {
        tree->failed = true;
        return false;
    }
    fine = plugin_is_isolated(aggregate->plugin)
               ? aggregate_isolate(aggregate, section->title, timeout_ns, &error)
               : open_here(aggregate, &error);
    if (!fine)
        conf_complain(tree, section->file, section->line, "%s", error.text);
    return fine;
}

void conf_plugin_release(struct aggregate *aggregate)
{
    const struct plugin *plugin = aggregate->plugin;

    if (aggregate->configured && plugin->api.release != NULL)
        plugin->api.release(aggregate->config);
    for (size_t i = 0; aggregate->config != NULL && i < plugin->api.option_count; i++) {
        struct rasad_option row = plugin_option(plugin, i);

        conf_empty(&row, 1, aggregate->config);
    }
    free(aggregate->config);
    free(aggregate->section);
    free(aggregate->shape);
    aggregate_close(aggregate);
    *aggregate = (struct aggregate){0};
}
