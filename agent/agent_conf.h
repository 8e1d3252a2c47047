/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * agent_conf: agent.conf as values (rasad-agent.conf(5)). Reading it finds every error, not just
 * the first. Threads: read from one thread (libconfuse has state of its own); constant afterwards.
 * Memory: all strings and lists are owned by the conf.
 */
#include <rasad/plugin.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/conf_schema.h"
#include "base/text.h"

/* One `collector` section. */
struct agent_conf_collector {
    char *name; /* the title */
    bool enabled;
    int64_t interval; /* nanoseconds; 0: the collector's own */
    char *file;       /* where the section begins */
    int line;
};

struct agent_conf {
    struct rasad_texts server;               /* "HOST:PORT", in order of preference */
    const char *name;                        /* "": the host's */
    struct rasad_texts collectors_path;      /* folders to look in before our own */
    bool has_spool;                          /* whether it says where the spool lies */
    const char *spool;                       /* its folder; "": in memory */
    const char *spool_max;                   /* as written; the number is below */
    const char *spool_full;                  /* "block", "drop-oldest"; "": as it fits */
    const char *spool_sync;                  /* "disk", "os", "memory" */
    uint64_t spool_max_bytes;                /* 0: the usual */
    struct agent_conf_collector *collectors; /* in file order, one a name */
    size_t collector_count;
};

/* What it may hold. The preset of a collector's interval is an example: each has its own. */
extern const struct conf_section agent_conf_schema;

/*
 * Reads the file and what it includes. On false `*out` is untouched and `report` holds one line for
 * every error: `FILE:LINE: what is wrong (what to write)`.
 */
bool agent_conf_read(const char *path, struct agent_conf **out, struct text *report);

void agent_conf_free(struct agent_conf *conf);

/* For SCOPED. */
void agent_conf_free_at(struct agent_conf **conf);
