/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Makes rasad.conf(5) out of its template, the server's tables, and those of the plugins.
 * Usage: rasad-conf-page TEMPLATE PAGE PLUGIN.so...
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "base/scoped.h"
#include "conf/conf.h"
#include "page.h"
#include "plugin.h"

enum { SERVER, LISTEN, HTTP, METRIC, PLUGINS, PART_COUNT };

/* The plugin's name is that of its file. */
static bool open_plugin(const char *path, struct plugin **plugin, struct rasad_error *error)
{
    const char *slash = strrchr(path, '/'), *base = slash != NULL ? slash + 1 : path;
    SCOPED(free_at) char *name = strndup(base, strcspn(base, "."));

    return name != NULL && plugin_open(path, name, plugin, error);
}

static bool add_plugin(struct text *out, const char *path, struct rasad_error *error)
{
    static const char *const kinds[] = {
        [RASAD_GAUGE] = "a gauge",
        [RASAD_COUNTER] = "a counter",
        [RASAD_HISTOGRAM] = "a histogram",
        [RASAD_SUMMARY] = "a summary",
    };
    struct plugin *plugin;
    bool fine = true;

    if (!open_plugin(path, &plugin, error))
        return false;
    text_printf(out, ".SS \"plugin = \\(dq%s\\(dq\"\n", plugin->api.name);
    page_add_prose(out, plugin->api.help);
    text_printf(out, "It shows %s.\n", kinds[plugin->api.kind]);
    for (size_t i = 0; i < plugin->api.option_count && fine; i++) {
        struct rasad_option option = plugin_option(plugin, i);

        fine = page_add_options(out, &option, 1, error);
    }
    if (plugin->api.option_count == 0)
        text_add_string(out, "It has no options of its own.\n");
    (void)plugin_unref(plugin);
    return fine;
}

static bool make_parts(struct page_part *parts, char *const *plugins, struct rasad_error *error)
{
    const struct conf_section *schema = &conf_manual;

    for (size_t i = 0; plugins[i] != NULL; i++) {
        if (!add_plugin(&parts[PLUGINS].text, plugins[i], error))
            return false;
    }
    return page_add_options(&parts[SERVER].text, schema->options, schema->option_count, error) &&
           page_add_section(&parts[LISTEN].text, schema, "listen", error) &&
           page_add_section(&parts[HTTP].text, schema, "http", error) &&
           page_add_section(&parts[METRIC].text, schema, "metric", error);
}

int main(int argc, char *argv[])
{
    struct page_part parts[PART_COUNT] = {
        [SERVER] = {.name = "server"}, [LISTEN] = {.name = "listen"},   [HTTP] = {.name = "http"},
        [METRIC] = {.name = "metric"}, [PLUGINS] = {.name = "plugins"},
    };
    struct rasad_error error = {0};
    bool fine;

    if (argc < 3) {
        (void)fputs("usage: rasad-conf-page TEMPLATE PAGE PLUGIN.so...\n", stderr);
        return EX_USAGE;
    }
    fine = make_parts(parts, argv + 3, &error) &&
           page_write(argv[1], argv[2], parts, PART_COUNT, &error);
    if (!fine)
        (void)fprintf(stderr, "rasad-conf-page: %s\n", error.text);
    for (size_t i = 0; i < PART_COUNT; i++)
        page_part_free(&parts[i]);
    return fine ? EXIT_SUCCESS : EXIT_FAILURE;
}
