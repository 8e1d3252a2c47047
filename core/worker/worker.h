/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * worker: the program that runs a plugin apart from the server, so that whatever the plugin does
 * harms nobody else. The server and rasadctl start it; people don't. Each of its verbs is a
 * function of this kind: what it does with its arguments, and the program's exit code. The plugin
 * is a sealed copy (base/module.h) at descriptor WORKER_PLUGIN.
 */

/* Descriptors that whoever starts a worker gives it. */
enum {
    WORKER_PLUGIN = 3, /* the plugin's private copy */
    WORKER_LINK = 4,   /* what else a verb works with */
    WORKER_OLDER = 5,  /* of laws: an older build of the plugin, if it is given one */
};

/* probe NAME PATH: whether the plugin loads, is complete, and keeps the quick laws. */
int worker_probe(int argc, char *argv[]);

/* laws NAME PATH SEED text|json OLDER SETTING…: all laws, a line each on standard output. OLDER is
 * the path of the build at WORKER_OLDER, or "". */
int worker_laws(int argc, char *argv[]);

/* serve NAME PATH: updates, merges and renders for an isolated metric (keeper.h). */
int worker_serve(int argc, char *argv[]);

/* describe NAME PATH: what the plugin says of itself (plugin_describe.h). */
int worker_describe(int argc, char *argv[]);
