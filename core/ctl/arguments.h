/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * arguments: what stands behind a verb on the command line. All verbs read it the same way: options
 * and operands in any order, a negative number is an operand, -S and -h are for each of them.
 * Threads: one (getopt has state of its own). Memory: lent by argv.
 */
#include <stdbool.h>
#include <stddef.h>

/* Options that only some verbs take. */
enum {
    TAKES_JSON = 1,     /* --json */
    TAKES_AGENT = 2,    /* --agent NAME */
    TAKES_KEY = 4,      /* --key GLOB */
    TAKES_REJECTED = 8, /* --rejected */
    TAKES_COUNT = 16,   /* -n, --count COUNT */
    TAKES_LABEL = 32,   /* --label NAME=VALUE, again and again */
};

/* More than a message could set. */
#define ARGUMENTS_MOST_LABELS 64

/* What a verb takes. */
struct arguments_rule {
    const char *usage; /* as -h prints it */
    unsigned takes;    /* TAKES_… */
    size_t most;       /* operands, at most 2 */
};

struct arguments {
    bool json;
    bool rejected;
    long count; /* 0: not given */
    const char *agent;
    const char *key;
    const char *labels[ARGUMENTS_MOST_LABELS];
    size_t label_count;
    const char *operands[2];
    size_t operand_count;
    int status; /* the exit code, if there is nothing to do */
};

/* Reads them. False if all is said and done: exit with arguments->status. */
bool arguments_read(int argc, char *argv[], const struct arguments_rule *rule,
                    struct arguments *arguments);

/* Says what is wrong with them and how the verb is used; the exit code for that. */
int arguments_refuse(const struct arguments_rule *rule, const char *what, const char *which);
