/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * admin: the unix socket at which rasadctl asks and steers the server. Who may open the socket
 * (mode 0660) may do all of it. A client sends requests, each a JSON object of at most
 * ADMIN_MOST_REQUEST bytes, and gets a line of JSON for each:
 *   {"ok":true,"data":…}
 *   {"ok":false,"code":64,"error":"WHAT (WHAT TO DO)"}, the code being rasadctl's exit code, or
 *   {"ok":false,"code":78,"report":"…"}: lines, as `rasadd -t` prints them.
 * Requests:
 *   {"verb":"status"}, {"verb":"plugins"}, {"verb":"metrics"}, {"verb":"agents"}: an object; arrays
 *   {"verb":"series","selector":"NAME{…}","agent":"…"}: an array; see selector.h
 *   {"verb":"plan","file":"/…"}: what a reload would do with the file, or with the server's own
 *   {"verb":"reload"}: an array, of what became of each metric
 *   {"verb":"upgrade"}: an object, by the new program; the connection ends then
 *   {"verb":"dump"}: {"ok":true,"bytes":N}, and then a backup of N bytes, see store/backup.h
 *   {"verb":"tail","agent":"…","key":"GLOB","rejected":true}: after {"ok":true} a line for each
 *     sample and message, see verdict.h; {"skipped":N} where the client was too slow. It ends when
 *     the client closes.
 *   {"verb":"send"}: after {"ok":true} the connection is one of a sender, who speaks as at the
 *     agents' port. He is told what becomes of each of his samples: {"@verdict":{…}}, see
 * verdict.h. Members not named here are refused, since a filter that isn't heeded would mislead.
 * Threads: one that accepts, and one a client, at most ADMIN_MOST_CLIENTS; further ones are told
 * so. admin_open(), admin_start() and admin_close() from the server's. No client can hold a shard
 * up. Memory: a request, and the reply as a whole, a client. Slow clients are closed, but for
 * `tail`, and `dump` if they take something every ten minutes.
 */
#include <stdbool.h>

#include "base/error.h"

/* Clients at once, those that became senders not counted. */
#define ADMIN_MOST_CLIENTS 16

/* Descriptors that they may need: a socket and a bell each, and our own. */
#define ADMIN_MOST_DESCRIPTORS (2 * ADMIN_MOST_CLIENTS + 2)

/* A longer request is refused. */
#define ADMIN_MOST_REQUEST (64 << 10)

struct admin;
struct server;

/* Listens at the conf's admin_socket, in the place of a dead server's; a living one's is an error.
 * Clients wait until admin_start(). Without a path, and (with a warning) where its folder isn't
 * there, `*out` is NULL. */
bool admin_open(struct server *server, struct admin **out, struct rasad_error *error);

/* Its listening socket. */
int admin_fd(const struct admin *admin);

/* Serves from now on. NULL is fine. */
bool admin_start(struct admin *admin, struct rasad_error *error);

/* Ends the connections and the threads, and removes the socket. NULL is fine. */
void admin_close(struct admin *admin);
