/* SPDX-License-Identifier: Apache-2.0 */
#include "reload/reload.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/scoped.h"
#include "handover/service.h"
#include "handover/upgrade.h"
#include "probe.h"
#include "reload/changeover.h"
#include "reload/rehearsal.h"
#include "server.h"

/* Replaced plugins whose code stays, beyond which nothing is reloaded any more. */
#define MOST_LEAKED 16

/* One reload. */
struct reload {
    struct server *server;
    struct conf *next;     /* owned; then the old one */
    struct sockets listen; /* new ones, if the conf asks for others */
    struct http *http;     /* likewise; then the old one */
};

static void reload_free(struct reload *reload)
{
    http_close(reload->http);
    sockets_close(&reload->listen);
    conf_free(reload->next);
}

static void conf_free_at(struct conf **conf)
{
    conf_free(*conf);
}

/* ---- Beside the ingest --------------------------------------------------------------------- */

/* A line of the report. */
static bool report_error(const struct rasad_error *error, struct text *report)
{
    text_printf(report, "%s\n", error->text);
    return false;
}

/* Reads the next conf, and loads what it names. */
static bool read_conf(struct server *server, const char *path, struct conf **next,
                      struct text *report)
{
    struct rasad_error error;

    if (atomic_load(&server->reloads.leaked) < MOST_LEAKED)
        return conf_read(path, server->conf, probe_plugin, next, report);
    (void)rasad_fail(&error,
                     "%d replaced plugins could not be unloaded (restart the server, and see its "
                     "warnings)",
                     MOST_LEAKED);
    return report_error(&error, report);
}

/* Opens what the next conf listens at, where that is another place. */
static bool open_listen(struct reload *reload, struct rasad_error *error)
{
    struct server *server = reload->server;
    const struct sockets *running = listener_lock(&server->listener);
    const struct conf_listen *now = &reload->next->listen;
    bool fine = sockets_serve(running, now) || sockets_open(now, running, &reload->listen, error);

    listener_unlock(&server->listener);
    return fine;
}

/* The same of HTTP, which is served there from now on, if it comes to that. */
static bool open_http(struct reload *reload, struct rasad_error *error)
{
    struct server *server = reload->server;
    const struct sockets *running = http_sockets(server->http);
    const struct conf_listen *now = &reload->next->http;
    struct sockets sockets;

    return sockets_serve(running, now) ||
           (sockets_open(now, running, &sockets, error) &&
            http_open(&sockets, server->http_connections, &server->source, server->log,
                      &reload->http, error));
}

static bool rehearse(struct server *server, const struct plan *plan, struct rasad_error *error)
{
    return rehearsal_run(plan, &server->view, &server->families, server->log, error);
}

/* ---- The whole ----------------------------------------------------------------------------- */

/* The old places are left for the new ones. */
static void move_sockets(struct reload *reload)
{
    struct server *server = reload->server;
    struct http *old = server->http;

    listener_change(&server->listener, reload->listen.count > 0 ? &reload->listen : NULL,
                    server->conf->max_message);
    if (reload->http == NULL)
        return;
    http_set_ready(reload->http, true);
    server->http = reload->http;
    reload->http = old;
}

/* The places are what the next process is to find, if this one is killed. */
static void move(struct reload *reload)
{
    move_sockets(reload);
    server_note_places(reload->server);
}

static bool apply(struct server *server, struct plan *plan, int64_t *paused_ns, struct text *report)
{
    SCOPED(reload_free) struct reload reload = {.server = server};
    SCOPED(plan_free) struct plan made = {0};
    struct rasad_error error = {""};

    if (!read_conf(server, server->conf->path, &reload.next, report) ||
        !plan_make(server->conf, reload.next, &made, report))
        return false;
    if (!server_begin_conf(server, reload.next, &error) || !rehearse(server, &made, &error) ||
        !open_listen(&reload, &error) || !open_http(&reload, &error))
        return report_error(&error, report);
    if (!changeover_run(server, &reload.next, &made, paused_ns, report))
        return false;
    move(&reload);
    *plan = made;
    made = (struct plan){0};
    return true;
}

static void log_plan(const struct server *server, const struct plan *plan, int64_t paused_ns)
{
    size_t counts[PLAN_MIGRATED + 1] = {0};

    for (size_t i = 0; i < plan->count; i++) {
        const struct plan_row *row = &plan->rows[i];

        counts[row->change]++;
        if (row->change != PLAN_KEPT || row->detail != NULL)
            log_info(server->log, row->action, log_text("metric", row->metric),
                     log_text("detail", row->detail != NULL ? row->detail : "-"));
    }
    log_info(server->log, "reloaded", log_number("kept", (int64_t)counts[PLAN_KEPT]),
             log_number("added", (int64_t)counts[PLAN_ADDED]),
             log_number("removed", (int64_t)counts[PLAN_REMOVED]),
             log_number("restarted", (int64_t)counts[PLAN_RESTARTED]),
             log_number("migrated", (int64_t)counts[PLAN_MIGRATED]),
             log_number("paused_us", paused_ns / 1000));
}

void server_log_report(const struct server *server, const char *what, const struct text *report)
{
    for (size_t at = 0; at < report->length;) {
        const char *line = report->at + at, *end = memchr(line, '\n', report->length - at);
        size_t length = end != NULL ? (size_t)(end - line) : report->length - at;

        log_error(server->log, what, log_bytes("reason", line, length));
        at += length + 1;
    }
}

/* Notes what became of it, for the metrics and the log. */
static void note(struct server *server, bool fine, const struct plan *plan, int64_t paused_ns,
                 const struct text *report)
{
    struct reloads *reloads = &server->reloads;

    atomic_store(&reloads->last_succeeded, fine);
    if (fine) {
        (void)atomic_fetch_add(&reloads->succeeded, 1);
        atomic_store(&reloads->last_success_ns, clock_wall_ns());
        log_plan(server, plan, paused_ns);
    } else {
        (void)atomic_fetch_add(&reloads->failed, 1);
        server_log_report(server, "reload failed, the running conf stays", report);
    }
}

/* What the service manager shows of it, which is the first of the reasons. */
static void tell_outcome(const struct server *server, bool fine, const struct text *report)
{
    size_t length = 0;
    char status[400];

    if (fine) {
        server_tell_ready(server);
        return;
    }
    while (length < report->length && report->at[length] != '\n')
        length++;
    (void)snprintf(status, sizeof status, "reload refused: %.*s", (int)length,
                   report->at != NULL ? report->at : "");
    service_tell_ready(status);
}

/* Warns if there are more plugins whose code stays than there were. */
static void tell_leaked(struct server *server, uint64_t before)
{
    if (atomic_load(&server->reloads.leaked) > before)
        log_warning(server->log, "a plugin could not be unloaded, its code stays in memory",
                    log_text("hint", "build it without -z nodelete, unique symbols (C++: "
                                     "-fno-gnu-unique) and thread_local destructors"));
}

/* The plan's confs may be gone by the time that it is looked at; its words stay. */
static void forget_confs(struct plan *plan)
{
    for (size_t i = 0; i < plan->count; i++) {
        plan->rows[i].from = NULL;
        plan->rows[i].to = NULL;
    }
}

bool server_reload(struct server *server, struct plan *plan, struct text *report)
{
    int64_t paused_ns = 0;
    uint64_t leaked;
    bool fine;

    (void)pthread_mutex_lock(&server->reloader.reloading);
    leaked = atomic_load(&server->reloads.leaked);
    service_tell_reloading();
    fine = apply(server, plan, &paused_ns, report);
    note(server, fine, plan, paused_ns, report);
    tell_leaked(server, leaked);
    tell_outcome(server, fine, report);
    (void)pthread_mutex_unlock(&server->reloader.reloading);
    if (fine)
        forget_confs(plan);
    return fine;
}

static bool compare_with(struct server *server, const char *path, struct plan *plan,
                         struct text *report)
{
    SCOPED(conf_free_at) struct conf *next = NULL;
    SCOPED(plan_free) struct plan made = {0};
    struct rasad_error error = {""};

    if (!read_conf(server, path, &next, report) || !plan_make(server->conf, next, &made, report))
        return false;
    if (!rehearse(server, &made, &error))
        return report_error(&error, report);
    forget_confs(&made);
    *plan = made;
    made = (struct plan){0};
    return true;
}

bool server_plan(struct server *server, const char *path, struct plan *plan, struct text *report)
{
    uint64_t leaked;
    bool fine;

    /* The conf is freed under the lock as well, for it shares plugins with the one that runs. */
    (void)pthread_mutex_lock(&server->reloader.reloading);
    leaked = atomic_load(&server->reloads.leaked);
    fine = compare_with(server, path != NULL ? path : server->conf->path, plan, report);
    tell_leaked(server, leaked);
    (void)pthread_mutex_unlock(&server->reloader.reloading);
    return fine;
}

/* ---- SIGHUP and SIGUSR2 -------------------------------------------------------------------- */

/* Waits for a wish, whether it is for an upgrade; false if it is the end. */
static bool await_wish(struct reloader *reloader, bool *upgrade)
{
    bool stopping;

    (void)pthread_mutex_lock(&reloader->lock);
    while (!reloader->wanted && !reloader->upgrade_wanted && !reloader->stopping)
        (void)pthread_cond_wait(&reloader->changed, &reloader->lock);
    *upgrade = !reloader->wanted;
    if (*upgrade)
        reloader->upgrade_wanted = false;
    reloader->wanted = false;
    stopping = reloader->stopping;
    (void)pthread_mutex_unlock(&reloader->lock);
    return !stopping;
}

static void *run(void *argument)
{
    struct reloader *reloader = argument;
    bool upgrade;
    int code;

    while (await_wish(reloader, &upgrade)) {
        SCOPED(plan_free) struct plan plan = {0};
        SCOPED(text_free) struct text report = {0};

        if (upgrade)
            server_upgrade(reloader->server, -1, &code, &report);
        else
            (void)server_reload(reloader->server, &plan, &report);
    }
    return NULL;
}

bool reloader_start(struct reloader *reloader, struct server *server, struct rasad_error *error)
{
    int why;

    reloader->server = server;
    (void)pthread_mutex_init(&reloader->reloading, NULL);
    (void)pthread_mutex_init(&reloader->lock, NULL);
    (void)pthread_cond_init(&reloader->changed, NULL);
    why = pthread_create(&reloader->thread, NULL, run, reloader);
    if (why != 0)
        return rasad_fail(error, "cannot start a thread: %s", strerror(why));
    reloader->running = true;
    return true;
}

void reloader_want(struct reloader *reloader)
{
    (void)pthread_mutex_lock(&reloader->lock);
    reloader->wanted = true;
    (void)pthread_cond_signal(&reloader->changed);
    (void)pthread_mutex_unlock(&reloader->lock);
}

void reloader_want_upgrade(struct reloader *reloader)
{
    (void)pthread_mutex_lock(&reloader->lock);
    reloader->upgrade_wanted = true;
    (void)pthread_cond_signal(&reloader->changed);
    (void)pthread_mutex_unlock(&reloader->lock);
}

void reloader_stop(struct reloader *reloader)
{
    if (!reloader->running)
        return;
    (void)pthread_mutex_lock(&reloader->lock);
    reloader->stopping = true;
    (void)pthread_cond_signal(&reloader->changed);
    (void)pthread_mutex_unlock(&reloader->lock);
    (void)pthread_join(reloader->thread, NULL);
    reloader->running = false;
}
