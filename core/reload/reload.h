/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * reload: another conf, and plugins that were replaced, for the running server: all of it or, with
 * the reasons, nothing of it. Reading, vetting and loading go on beside the ingest; then all shards
 * stand still for a moment (standstill.h), bring their series over on copies (transition.h), and go
 * on under the new conf. No connection is closed, and no message is lost or applied twice, for none
 * is at hand then. What the old conf had is freed after that, plugins nobody uses with it.
 * Threads: any but the shards'; one reload or plan at a time.
 */
#include <pthread.h>
#include <stdbool.h>

#include "base/error.h"
#include "base/text.h"
#include "reload/plan.h"

struct server;

/* The thread that SIGHUP asks for a reload, and SIGUSR2 for an upgrade, since the server's loop has
 * no time for one. */
struct reloader {
    struct server *server;
    pthread_mutex_t reloading; /* one reload or plan at a time */
    pthread_mutex_t lock;      /* on what follows */
    pthread_cond_t changed;
    bool wanted;
    bool upgrade_wanted;
    bool stopping;
    bool running;
    pthread_t thread;
};

bool reloader_start(struct reloader *reloader, struct server *server, struct rasad_error *error);

/* Asks for a reload and doesn't wait. */
void reloader_want(struct reloader *reloader);

/* The same of an upgrade. */
void reloader_want_upgrade(struct reloader *reloader);

/* Waits for the one that may be going on, and lets no other begin. May be called again, and when it
 * was never started. */
void reloader_stop(struct reloader *reloader);

/*
 * Reads the conf file anew and applies it. On true `plan` says what became of each metric, by its
 * titles and words; plan_free() ends it. On false nothing has changed, and `report` says why, a
 * line for each reason.
 */
bool server_reload(struct server *server, struct plan *plan, struct text *report);

/* What a reload would do with this file (NULL: the one that the server runs with), and does
 * nothing.
 */
bool server_plan(struct server *server, const char *path, struct plan *plan, struct text *report);

/* Logs what has failed with a report's reasons, a line for each. */
void server_log_report(const struct server *server, const char *what, const struct text *report);
