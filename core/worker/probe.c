/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <sysexits.h>

#include "laws/laws.h"
#include "laws/sanitized.h"
#include "worker/heap.h"
#include "worker/start.h"
#include "worker/worker.h"

enum {
    PROBE_CPU_S = 10, /* of processor time; whoever asks waits less long than that */
    PROBE_SEED = 1,   /* the same for all, so that what passes today passes tomorrow */
};

int worker_probe(int argc, char *argv[])
{
    const struct laws_options options = {.seed = PROBE_SEED,
                                         .watch_heap = LAWS_SANITIZED ? NULL : heap_watch};
    struct rasad_error error = {""};
    struct plugin *plugin;
    bool fine;

    if (argc != 3)
        return EX_USAGE;
    start_limit(PROBE_CPU_S);
    plugin = start_load(WORKER_PLUGIN, argv[2], argv[1]);
    if (plugin == NULL)
        return EXIT_FAILURE;
    start_say("at checking its laws");
    fine = laws_check_quickly(plugin, &options, &error);
    start_unload(plugin);
    if (fine)
        start_say("ok");
    else
        start_say("no %s (rasadctl check %s tells more)", error.text, argv[2]);
    return fine ? EXIT_SUCCESS : EXIT_FAILURE;
}
