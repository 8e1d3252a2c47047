/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * server: all parts put together, started and ended in the right order.
 * Threads: one; it starts those of the others.
 */
#include "base/error.h"
#include "base/log.h"
#include "conf/conf.h"
#include "exporter/http.h"
#include "exporter/scrape.h"
#include "family.h"
#include "listener.h"
#include "publisher.h"
#include "shard.h"
#include "view.h"

struct server {
    const struct conf *conf;
    const struct log *log;
    int signals; /* signalfd */
    struct families families;
    struct view view;
    struct publisher publisher;
    struct shard_common common;
    struct shard *shards;
    int shards_open;
    struct listener listener;
    struct scrape_source source;
    struct http *http;
    _Atomic uint64_t failed_reloads;
};

/* Starts everything. Even on false to be ended with server_close(). */
bool server_open(struct server *server, const struct conf *conf, const struct log *log,
                 bool verbose, struct rasad_error *error);

/* Serves until SIGINT or SIGTERM, then applies what was received and closes the senders'
 * connections. */
bool server_run(struct server *server, struct rasad_error *error);

void server_close(struct server *server);
