/* SPDX-License-Identifier: Apache-2.0 */
#include "handover/upgrade.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/scoped.h"
#include "handover/durable.h"
#include "handover/handover.h"
#include "handover/service.h"
#include "handover/standing.h"
#include "server.h"

/* How long all shards may take to come to a standstill, and running HTTP requests to end. */
#define PATIENCE_NS (5 * NS_PER_S)
#define REQUESTS_NS (2 * NS_PER_S)

/* A line of the report. */
static bool fail(const struct rasad_error *error, struct text *report)
{
    text_printf(report, "%s\n", error->text);
    return false;
}

/* What the child is shown: a handover of this format with nothing in it. */
static bool check(struct server *server, int *code, struct text *report)
{
    const char *state_dir = server->conf->state_dir;
    const struct handover empty = {.version = {RASAD_VERSION, strlen(RASAD_VERSION)},
                                   .state_dir = {state_dir, strlen(state_dir)},
                                   .asker = -1};
    SCOPED(close_at) int memory = -1;
    struct rasad_error error = {""};

    if (!handover_seal(&empty, &memory, &error))
        return fail(&error, report);
    return program_check(server->program, memory, &server->ending, code, report);
}

static void keep_open(int32_t *fd, void *context)
{
    (void)fcntl(*fd, F_SETFD, 0);
}

static void close_on_exec(int32_t *fd, void *context)
{
    (void)fcntl(*fd, F_SETFD, FD_CLOEXEC);
}

/* All stand still. Returns only if it can't be. */
static void leave(struct server *server, int asker, int64_t begun_ns, struct rasad_error *error)
{
    SCOPED(handover_free) struct handover handover = {.asker = -1};
    SCOPED(close_at) int memory = -1;

    if (!publisher_settle_standing(&server->publisher, error) ||
        !handover_collect(server, &handover, error))
        return;
    handover.begun_ns = begun_ns;
    handover.asker = asker;
    if (!handover_seal(&handover, &memory, error))
        return;
    handover_each_fd(&handover, keep_open, NULL);
    (void)fcntl(memory, F_SETFD, 0);
    standing_disown(server->common.standing, true);
    (void)service_beat(); /* the next is the new program's */
    program_become(server->program, memory, error);
    standing_disown(server->common.standing, false);
    handover_each_fd(&handover, close_on_exec, NULL);
}

/* Nobody accepts, and scrapes are at rest. */
static void stand_still(struct server *server, int asker, struct rasad_error *error)
{
    struct standstill *standstill = &server->common.standstill;
    int64_t begun_ns = clock_steady_ns();

    view_shut(&server->view);
    standstill_want(standstill);
    shards_wake(server->shards, server->common.shard_count);
    if (standstill_begin(standstill, clock_steady_ns() + PATIENCE_NS)) {
        leave(server, asker, begun_ns, error);
        standstill_end(standstill);
    } else {
        (void)rasad_fail(error, "a plugin keeps a thread of the server busy (try again)");
    }
    view_end(&server->view);
}

/* Holds the loop when it has turned to the sockets of the last reload, which it is about to do. */
static void hold(struct server *server)
{
    static const struct timespec moment = {.tv_nsec = NS_PER_MS};
    bool turning;

    for (;;) {
        server_hold(server);
        turning = listener_lock(&server->listener) == &server->listener.next;
        listener_unlock(&server->listener);
        if (!turning || server->ending)
            return;
        server_let_go(server);
        (void)nanosleep(&moment, NULL);
    }
}

/* Returns only if it can't be, with all as it was. */
static void change_over(struct server *server, int asker, struct rasad_error *error)
{
    struct rasad_error lost = {""};

    /* What takes long comes before anybody has to wait: most of the commit, and a backup's copy. */
    if (!publisher_commit(&server->publisher, error))
        return;
    publisher_pause(&server->publisher);
    http_pause(server->http, clock_steady_ns() + REQUESTS_NS);
    hold(server);
    if (server->ending)
        (void)rasad_fail(error, "the server stops");
    else
        stand_still(server, asker, error);
    server_let_go(server);
    publisher_resume(&server->publisher);
    if (!http_resume(server->http, &lost))
        log_error(server->log, "HTTP is not served any more (restart the server)",
                  log_text("reason", lost.text));
}

static bool try_all(struct server *server, int asker, int *code, struct text *report)
{
    struct rasad_error error = {""};

    if (server->program == NULL) {
        (void)rasad_fail(&error, "the server does not know what program it is");
        return fail(&error, report);
    }
    if (!durable_is_wanted(server->conf, &error))
        return fail(&error, report);
    if (!check(server, code, report))
        return false;
    change_over(server, asker, &error);
    return fail(&error, report);
}

void server_upgrade(struct server *server, int asker, int *code, struct text *report)
{
    *code = EXIT_FAILURE;
    (void)pthread_mutex_lock(&server->reloader.reloading);
    (void)try_all(server, asker, code, report);
    server_log_report(server, "upgrade refused, the running program stays", report);
    (void)pthread_mutex_unlock(&server->reloader.reloading);
}
