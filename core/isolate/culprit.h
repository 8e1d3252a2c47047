/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * culprit: what ended an isolated plugin's process, kept as a file for the plugin's author: all
 * that is needed to let it happen again. The files are FOLDER/PLUGIN-TIME-N.json, at most so many
 * of a plugin: the first ones of a flood tell as much as the last. Threads: any; files are made
 * with O_EXCL.
 */
#include <limits.h>
#include <rasad/plugin.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Files of one plugin in the folder; more are not written. */
#define CULPRIT_MOST_FILES 100

/* All of it is lent. */
struct culprit {
    const char *plugin;
    const char *version;
    uint32_t state_version;
    const char *metric;              /* the section's title */
    const char *section;             /* as the conf has it */
    const char *agent;               /* NULL: nobody's, or nobody knows */
    const char *doing;               /* "update", "render" and so on */
    const char *why;                 /* "it was ended by SIGSEGV" */
    const struct rasad_value *value; /* NULL if it was not about a sample */
    const void *state;               /* from before */
    size_t state_bytes;
    int64_t wall_ns;
};

/* Keeps it; `path` is the file's, "" if there is none: the folder is NULL or can't be written, or
 * has enough of them. */
void culprit_keep(const char *folder, const struct culprit *culprit, char path[PATH_MAX]);
