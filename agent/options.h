/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * options: rasad-agent's command line.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

#define OPTIONS_MOST_SERVERS 16
#define OPTIONS_MOST_COLLECTORS 64

enum options_action { OPTIONS_RUN, OPTIONS_HELP, OPTIONS_VERSION };

/* All strings are the arguments themselves. */
struct options {
    enum options_action action;
    const char *conf; /* NULL: the default one, which may be missing */
    const char *servers[OPTIONS_MOST_SERVERS];
    size_t server_count;
    const char *name;    /* NULL: not given */
    int64_t interval_ns; /* 0: not given */
    char *collectors[OPTIONS_MOST_COLLECTORS];
    size_t collector_count; /* 0: not given */
    bool from_stdin;
};

extern const char options_usage[]; /* one line */
extern const char options_help[];  /* all options */

/* Reads the arguments; -C's is taken apart in place. */
bool options_parse(int argc, char *argv[], struct options *options, struct rasad_error *error);
