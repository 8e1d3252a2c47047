/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * server: all parts put together, started and ended in the right order.
 * Threads: one; it starts those of the others.
 */
#include "admin/admin.h"
#include "base/error.h"
#include "base/log.h"
#include "conf/conf.h"
#include "exporter/http.h"
#include "exporter/scrape.h"
#include "family.h"
#include "handover/handover.h"
#include "handover/program.h"
#include "heartbeat.h"
#include "listener.h"
#include "publisher.h"
#include "reload/reload.h"
#include "shard.h"
#include "store/loading.h"
#include "store/store.h"
#include "view.h"

struct server {
    struct conf *conf; /* owned; a reload puts another in its place */
    const struct log *log;
    int signals; /* signalfd */
    struct families families;
    struct store *store; /* NULL: all state is in memory only */
    struct view view;
    struct publisher publisher;
    struct shard_common common;
    struct shard *shards;
    int shards_open;
    struct listener listener;
    struct scrape_source source;
    struct http *http;
    struct taps taps;
    struct admin *admin;       /* NULL: there is none */
    _Atomic bool is_dumping;   /* a client of it takes a backup */
    unsigned http_connections; /* at once */
    struct reloads reloads;
    struct reloader reloader;
    const struct program *program;      /* whose place another may take; NULL: it is not known */
    struct handover_received *received; /* while it opens; NULL: none. The caller's. */
    struct sockets *units;              /* while it opens: those of socket units. The caller's. */
    int64_t progress_ns; /* steady: when the service manager heard last that the start goes on */
    pthread_mutex_t turnstile; /* before `turn`: who waits for it isn't overtaken by the loop */
    pthread_mutex_t turn;      /* held by the loop but while it waits for events */
    _Atomic bool ending;       /* set under `turn`: the loop has ended */
};

/* Where a server comes from; all of it is lent, and may be NULL. */
struct server_origin {
    const struct program *program;
    struct handover_received *received; /* what the image before has left */
    struct standing *standing; /* where its connections stand; the server's from server_open() on */
    struct sockets units[HANDOVER_PLACES]; /* of socket units, for the server to take */
};

/* Starts everything; the conf is the server's from now on. Even on false to be ended with
 * server_close(). */
bool server_open(struct server *server, struct conf *conf, const struct log *log, bool verbose,
                 struct server_origin *origin, struct rasad_error *error);

/* When all runs and nobody needs `received` any more: what is left of it is ended. */
void server_settle(struct server *server);

/* After a start that failed: nothing is taken in any more, and what the service manager has stays
 * there, for the next process may fare better. */
void server_leave(struct server *server);

/* Tells the next process, if this one is killed, what is listened at. */
void server_note_places(struct server *server);

/* What people read at the service manager about a server that works. */
void server_tell_ready(const struct server *server);

/* Lets the isolated metrics of a conf work for this server, before it is the server's. */
bool server_begin_conf(const struct server *server, struct conf *conf, struct rasad_error *error);

/* What brings states from the disk to this server, now. */
struct loading server_loading(struct server *server);

/* Serves until SIGINT or SIGTERM, then applies what was received, commits it, and closes the
 * senders' connections. */
bool server_run(struct server *server, struct rasad_error *error);

/* Keeps the server's loop from its next turn, so that nobody is accepted and no signal is taken,
 * until server_let_go(). From any other thread. */
void server_hold(struct server *server);
void server_let_go(struct server *server);

void server_close(struct server *server);
