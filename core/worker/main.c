/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rasad-worker: the program in which plugins run apart from the server. Its verbs are worker.h's.
 */
#include <stdio.h>
#include <string.h>
#include <sysexits.h>

#include "worker.h"

int main(int argc, char *argv[])
{
    static const struct {
        const char *name;
        int (*run)(int argc, char *argv[]);
    } verbs[] = {
        {"probe", worker_probe},       {"laws", worker_laws}, {"serve", worker_serve},
        {"describe", worker_describe}, {NULL, NULL},
    };

    for (size_t i = 0; argc > 1 && verbs[i].name != NULL; i++) {
        if (strcmp(argv[1], verbs[i].name) == 0)
            return verbs[i].run(argc - 1, argv + 1);
    }
    (void)fputs("rasad-worker runs plugins for rasadd and rasadctl; it is not for people\n",
                stderr);
    return EX_USAGE;
}
