/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * program: the file that this process was started from, which may hold another version by now: it
 * is tried in a child, and then run in our place. /proc/self/exe won't do, for that is the file of
 * old even when its name has gone to another.
 * Threads: any. Memory: a plain value; the arguments are main's.
 */
#include <limits.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "base/error.h"
#include "base/text.h"

/* How long the check may take. */
#define PROGRAM_CHECK_S 15

/* How the new program begins its line when it can take over. */
#define PROGRAM_ANSWER "handover: ok"

/* Options of rasadd that are not for people; each stands first, with '=' and a descriptor. */
#define PROGRAM_HANDOVER "--handover="
#define PROGRAM_CHECK "--check-handover="

struct program {
    char path[PATH_MAX]; /* as we were called, if that leads to us; else where we lay */
    char **arguments;    /* as they came, without PROGRAM_HANDOVER; ends with NULL; owned */
    int count;
};

/* Finds it, at the start. To be ended with program_free(). */
bool program_find(int argc, char *argv[], struct program *program, struct rasad_error *error);
void program_free(struct program *program);

/*
 * Runs it with our arguments and PROGRAM_CHECK, this memory being the descriptor that it gets, and
 * waits for its word. On false `*code` is an exit code, EX_CONFIG if the conf is to blame, and the
 * report has what it said, line by line. `stopping`: gives up once it is true.
 */
bool program_check(const struct program *program, int memory, const _Atomic bool *stopping,
                   int *code, struct text *report);

/* Becomes it, with our arguments and PROGRAM_HANDOVER. Returns only if that can't be. */
void program_become(const struct program *program, int memory, struct rasad_error *error);
