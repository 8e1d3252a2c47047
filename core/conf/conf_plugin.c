/* SPDX-License-Identifier: Apache-2.0 */
#include "conf/conf_plugin.h"

#include <stdlib.h>
#include <string.h>

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

bool conf_plugin_configure(struct conf_tree *tree, const struct conf_statement *section,
                           const struct plugin *plugin, const struct rasad_option *rows,
                           size_t row_count, void **config)
{
    struct rasad_error error = {0};
    void *block;

    if (plugin->api.config_size == 0) {
        *config = NULL;
        return true;
    }
    if ((block = calloc(1, plugin->api.config_size)) == NULL) {
        tree->failed = true;
        return false;
    }
    if (conf_fill(tree, section, rows, row_count, block)) {
        if (plugin->api.configure == NULL || plugin->api.configure(block, &error)) {
            *config = block;
            return true;
        }
        conf_complain(tree, section->file, section->line, "%s", error.text);
    }
    conf_empty(rows, row_count, block);
    free(block);
    return false;
}

void conf_plugin_release(const struct plugin *plugin, void *config)
{
    if (config == NULL)
        return;
    if (plugin->api.release != NULL)
        plugin->api.release(config);
    for (size_t i = 0; i < plugin->api.option_count; i++) {
        struct rasad_option row = plugin_option(plugin, i);

        conf_empty(&row, 1, config);
    }
    free(config);
}
