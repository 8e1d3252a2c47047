/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * crash: who was at work when the server crashed. A thread that is about to run a plugin's code
 * says so in a few plain stores; a fatal signal's handler writes a line about it to
 * FOLDER/crashes.log and lets the signal do what it does without us: there is no recovery, for a
 * process whose memory a plugin has written over is not to be trusted with anybody's state. The
 * next start reads the lines: a plugin that is blamed for two crashes within ten minutes runs
 * isolated (isolate.h), until ten minutes have gone by since the last of them. Threads: the place
 * is each thread's own; the rest is for the main thread, at its start. Memory: an alternate stack a
 * thread, freed at its end.
 */
#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

/* Crashes of one plugin so near to each other, and so recent, isolate it. */
#define CRASH_WITHIN_NS (INT64_C(600) * 1000000000)

/* What a thread is at; all of it is lent. */
struct crash_place {
    const char *plugin; /* NULL: no plugin's code runs */
    const char *family;
    const char *agent;  /* NULL: none */
    const void *labels; /* of the series, as series_labels() has them */
    uint32_t labels_size;
    uint64_t number; /* of the message in its stream or connection */
    bool hangs;      /* it is another thread's, see crash_note_hang() */
};

/* This thread's place. */
extern _Thread_local struct crash_place crash_place;

/* The thread is about to run this plugin's code. */
static inline void crash_enter(const char *plugin, const char *family)
{
    crash_place.family = family;
    crash_place.plugin = plugin;
}

/* It has come back. */
static inline void crash_leave(void)
{
    crash_place.plugin = NULL;
}

/*
 * Another thread doesn't come back from this place, for which somebody outside may end us by
 * SIGABRT, as a watchdog does: then it counts as a crash there. NULL: it does. For the main thread,
 * which gets the signals.
 */
void crash_note_hang(const struct crash_place *place);

/* STATE_DIR/crashes, or, if that is "", the folder "crashes" beside the admin socket. False if the
 * path is too long. */
bool crash_folder(const char *state_dir, const char *admin_socket, char folder[PATH_MAX]);

/* Makes the folder, opens the file in it, and from now on notes crashes. */
bool crash_begin(const char *folder, struct rasad_error *error);

/* Ends that. */
void crash_end(void);

/* Gives the thread a stack on which a handler can run when its own one has overflowed; once is
 * enough. Without memory it has none. */
void crash_use_stack(void);

/* Whether the plugin is blamed for two crashes near each other, and recently (wall). */
bool crash_blames(const char *folder, const char *plugin, int64_t now_ns);
