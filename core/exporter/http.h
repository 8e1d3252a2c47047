/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * http: the exporter, on libmicrohttpd: /metrics, /-/healthy, /-/ready and the page at /. GET and
 * HEAD only; nothing here changes anything.
 * Threads: libmicrohttpd's own, a few; none of them is a shard.
 */
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/log.h"
#include "exporter/scrape.h"
#include "sockets.h"

struct http;

/* Serves at these sockets, which are its own from now on, even on false; `connections` is the most
 * at once. To be ended with http_close(). */
bool http_open(struct sockets *sockets, unsigned connections, struct scrape_source *source,
               const struct log *log, struct http **out, struct rasad_error *error);

/* The sockets that it serves at. */
const struct sockets *http_sockets(const struct http *http);

/* Whether /-/ready says so. */
void http_set_ready(struct http *http, bool ready);

/*
 * Takes nobody in any more (whoever comes waits in the socket's queue), lets the requests at hand
 * finish until then (steady nanoseconds), and closes all connections. What it serves at stays open,
 * and http_resume() serves there again.
 */
void http_pause(struct http *http, int64_t deadline_ns);
bool http_resume(struct http *http, struct rasad_error *error);

/* Leaves a unix socket's path to another process. */
void http_leave(struct http *http);

/* Waits for running requests. NULL is fine. */
void http_close(struct http *http);
