/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * conf: rasad.conf as values (rasad.conf(5)). Reading it finds every error, not just the first.
 * Threads: read from one thread (libconfuse has state of its own); constant afterwards.
 * Memory: all strings, lists and plugin configs are owned by the conf; the plugins by its shelf.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "aggregate.h"
#include "base/conf_schema.h"
#include "base/error.h"
#include "base/text.h"
#include "plugin.h"

/* Where agents or scrapers come in. */
struct conf_listen {
    char *address; /* a host, or "unix:PATH" */
    uint16_t port; /* 0: a free one */
};

/* Labels that a metric can declare: as many as a sample can set. */
#define CONF_MOST_LABELS 64

/* One `metric` section. */
struct conf_metric {
    char *key;     /* the title: a JSON key, or a glob */
    bool is_glob;  /* the title has one of * ? [ */
    char *name;    /* of the family; NULL in a glob without one: each key's own, made legal */
    char *help;    /* default: the plugin's */
    char **labels; /* names that messages may set, in this order */
    size_t label_count;
    int64_t expire_ns; /* 0: never */
    uint64_t max_series;
    uint64_t max_families;
    struct aggregate aggregate; /* its plugin under its options */
    bool is_blamed;             /* isolated since the plugin crashed the server, not as it is set */
    char *file;                 /* where the section begins */
    int line;
};

struct conf {
    char *path; /* of the main file */
    struct conf_listen listen;
    struct conf_listen http;
    char **plugin_path;
    size_t plugin_path_count;
    char *state_dir;
    char *admin_socket;
    char *crash_folder;          /* where crashes are noted; NULL: nowhere */
    char *agent_label;           /* "" merges all senders */
    int threads;                 /* 0: one a core */
    size_t max_message;          /* bytes */
    int64_t stale_after_ns;      /* 0: never */
    int64_t anonymous_expire_ns; /* 0: never */
    int64_t agent_ttl_ns;
    int64_t commit_interval_ns;
    int64_t state_keep_ns;
    struct conf_metric *metrics; /* in file order */
    size_t metric_count;
    struct plugin_shelf shelf;
    struct text effective; /* what conf_print() prints */
};

/*
 * Reads the file and what it includes. On false `*out` is untouched and `report` holds one line for
 * every error: `FILE:LINE: what is wrong (what to write)`. Plugins that `running` (NULL: nothing)
 * has are shared with it if their files are the same to the byte, and others are vetted before they
 * are loaded (plugin.h; NULL: they are not).
 */
bool conf_read(const char *path, const struct conf *running, plugin_vet *vet, struct conf **out,
               struct text *report);

/* Lets the isolated metrics work in this house, before a sample of theirs comes. */
bool conf_begin(struct conf *conf, const struct isolate_house *house, struct rasad_error *error);

/* Room for what conf_place_of() writes, with its NUL. */
#define CONF_PLACE_LENGTH 512

/* Where the conf sets an option that stands outside of sections: "FILE:LINE", or the main file's
 * path if it doesn't. */
void conf_place_of(const struct conf *conf, const char *option, char place[CONF_PLACE_LENGTH]);

/* The effective conf with defaults, itself a valid conf (rasadd -T). */
void conf_print(const struct conf *conf, struct text *out);

/* What a conf may hold, for rasad.conf(5): without the options of plugins and those that are known
 * by name only. */
extern const struct conf_section conf_manual;

/* Frees it, and unloads the plugins that no other conf has. NULL is fine. */
void conf_free(struct conf *conf);

/* The name of a family made of a JSON key: each byte that is not legal becomes '_', a leading digit
 * gets '_' in front. False if nothing is left. Room: at least 2 * length + 2 bytes. */
bool conf_legal_name(const char *key, size_t length, char *name);
