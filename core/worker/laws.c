/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "base/scoped.h"
#include "laws/laws.h"
#include "laws/sanitized.h"
#include "worker/heap.h"
#include "worker/report.h"
#include "worker/start.h"
#include "worker/worker.h"

/* Seconds of processor time; whoever asks waits less long than that. */
enum { LAWS_CPU_S = 300 };

/* The arguments, by place. */
enum { ARGUMENT_NAME = 1, ARGUMENT_PATH, ARGUMENT_SEED, ARGUMENT_FORM, ARGUMENT_OLDER, SETTINGS };

/* Checks them and writes the report; false after it has said why it can't. */
static bool check_laws(const struct laws_options *options, const struct plugin *plugin, bool json,
                       bool *all_hold)
{
    struct report report = {.plugin = plugin, .seed = options->seed, .json = json};
    struct laws_figures figures;
    struct rasad_error error;

    start_say("at checking its laws");
    report_begin(&report);
    if (!laws_check(plugin, options, report_law, &report, &figures, all_hold, &error)) {
        start_say("no %s", error.text);
        text_free(&report.out);
        return false;
    }
    if (report_end(&report, &figures, *all_hold))
        return true;
    start_say("no the report can't be written");
    return false;
}

static void start_unload_at(struct plugin **plugin)
{
    if (*plugin != NULL)
        start_unload(*plugin);
}

int worker_laws(int argc, char *argv[])
{
    struct laws_options options = {.watch_heap = LAWS_SANITIZED ? NULL : heap_watch};
    SCOPED(start_unload_at) struct plugin *plugin = NULL;
    SCOPED(start_unload_at) struct plugin *older = NULL;
    bool all_hold;

    if (argc < SETTINGS)
        return EX_USAGE;
    start_limit(LAWS_CPU_S);
    options.seed = strtoull(argv[ARGUMENT_SEED], NULL, 10);
    options.settings = (const char *const *)&argv[SETTINGS];
    options.setting_count = (size_t)(argc - SETTINGS);
    plugin = start_load(WORKER_PLUGIN, argv[ARGUMENT_PATH], argv[ARGUMENT_NAME]);
    if (plugin == NULL)
        return EXIT_FAILURE;
    if (argv[ARGUMENT_OLDER][0] != '\0') {
        older = start_load(WORKER_OLDER, argv[ARGUMENT_OLDER], argv[ARGUMENT_NAME]);
        if (older == NULL)
            return EXIT_FAILURE;
    }
    options.older = older;
    if (!check_laws(&options, plugin, strcmp(argv[ARGUMENT_FORM], "json") == 0, &all_hold))
        return EXIT_FAILURE;
    start_say(all_hold ? "ok" : "ok broken");
    return EXIT_SUCCESS;
}
