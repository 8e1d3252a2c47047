/* SPDX-License-Identifier: Apache-2.0 */
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sysexits.h>
#include <unistd.h>

#include "base/scoped.h"
#include "isolate/plugin_describe.h"
#include "isolate/worker_link.h"
#include "sandbox.h"
#include "worker.h"

int worker_describe(int argc, char *argv[])
{
    SCOPED(text_free) struct text description = {0};
    struct rasad_error error = {""};
    struct plugin *plugin;

    if (argc != 3)
        return EX_USAGE;
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
    (void)sandbox_begin();
    if (!plugin_adopt(WORKER_PLUGIN, argv[2], &plugin, &error) ||
        !plugin_load(plugin, argv[1], &error)) {
        (void)worker_send(WORKER_LINK, WORKER_FAILED, error.text, strlen(error.text), -1);
        return EX_CONFIG;
    }
    plugin_describe_write(plugin, &description);
    (void)worker_send(WORKER_LINK, WORKER_DESCRIBED, description.at, description.length, -1);
    _exit(EX_OK); /* whatever the plugin would do at its end, it needn't */
}
