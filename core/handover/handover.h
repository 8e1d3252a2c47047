/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * handover: what the server is made of at one moment, apart from states and streams, which go by
 * the disk: connections with what they left unfinished, listening sockets, what was counted. One
 * image of the program collects it, the next adopts it (handover_wire.h has what it is).
 *   Reading: handover_take() first of all, when no descriptor was opened yet; then
 * handover_sockets() and handover_admin() as the parts of the server open, handover_adopt() before
 * shards run, handover_finish() when all runs; handover_close() in any case.
 *   What can't be adopted is closed: a named agent then says hello again and goes on where the disk
 * is. So nothing is ever lost by a handover that fails, only connections are.
 * Threads: one, while no shard runs or all stand still. Memory: a received handover owns its bytes,
 * its lists, and the descriptors that nobody took yet.
 */
#include <stdbool.h>

#include "base/error.h"
#include "conf/conf.h"
#include "handover/handover_wire.h"
#include "sockets.h"

struct server;

/* ---- The image that leaves ----------------------------------------------------------------- */

/* Fills it with the server as it is: all shards stand still, HTTP is paused, nobody accepts. It
 * lends all of it, descriptors too; handover_free() ends it. */
bool handover_collect(struct server *server, struct handover *handover, struct rasad_error *error);

/* Writes it into memory that nobody can change any more; `*fd` is close-on-exec. */
bool handover_seal(const struct handover *handover, int *fd, struct rasad_error *error);

/* ---- The image that comes ------------------------------------------------------------------ */

struct handover_received {
    struct text bytes;
    struct handover handover;
    bool was_kept;   /* by the service manager, for a process that ended (service.h) */
    bool was_killed; /* that one: nothing was handed over, see standing.h */
};

/* Reads what lies at the descriptor, which is closed. On false the error says why; there is nothing
 * to end then. */
bool handover_load(int fd, struct handover_received **out, struct rasad_error *error);

/* The same, after an exec: makes sure of the descriptors in it, each of which is a socket of its
 * own, closed on exec, or is -1 from now on. */
bool handover_take(int fd, struct handover_received **out, struct rasad_error *error);

/* Waits for the processes that the image before has left, so that none stays in the table. */
void handover_reap(struct handover_received *received);

/* Whether a program with this conf could take over what lies at the descriptor; for a look
 * beforehand. */
bool handover_fits(int fd, const struct conf *conf, struct rasad_error *error);

/*
 * Sockets for this section of the conf: those of the image before if they are what it asks for, or
 * if no others can be had, which is logged; else new ones, and `*old` are those of before, to be
 * ended by the caller. `received` may be NULL.
 */
bool handover_sockets(struct handover_received *received, enum handover_place place,
                      const struct conf_listen *now, const struct log *log, struct sockets *sockets,
                      struct sockets *old, struct rasad_error *error);

/* The listening admin socket at this path, which is the caller's then; -1: there is none. */
int handover_admin(struct handover_received *received, const char *path);

/* Gives the shards, which don't run yet, the connections, and lets what was counted go on. */
void handover_adopt(struct handover_received *received, struct server *server);

/* Says that all went well, in the log and to whoever asked. */
void handover_finish(struct handover_received *received, struct server *server);

/* Closes what nobody took, and frees it. NULL is fine. */
void handover_close(struct handover_received *received);
