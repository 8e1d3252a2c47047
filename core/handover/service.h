/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * service: systemd as the service manager: it hears how we are, and keeps what connections are made
 * of between the end of one process and the start of the next (FileDescriptorStoreMax=), so that
 * neither `systemctl restart` nor a kill costs one. While we run it has a dup of each socket, and
 * the memory of where each stands (standing.h). A process that is told to stop gives it a handover
 * as well, that of an upgrade (handover.h), which says all:
 *   - the handover's memory is "rasad-handover". Descriptors come back as other numbers and in any
 *     order, so the handover tells each socket by its cookie (SO_COOKIE), which is one socket's
 *     alone while the machine runs;
 *   - what is counted from a process's start is not handed on.
 * Without a service manager, or one that keeps nothing, all of it does nothing.
 * Threads: that of main; words from any.
 */
#include <stdbool.h>
#include <stdint.h>

#include "base/log.h"
#include "handover/handover.h"
#include "handover/standing.h"

struct server;

/*
 * Takes what the store has for us; NULL if there is nothing, or if it can't be read: then it is
 * closed, and the error says why. `*standing`, which is the caller's, stays if there is no memory
 * of that kind. What is taken lends from there. Before any descriptor is opened.
 *   `units` are set to the sockets of socket units, which FileDescriptorName= calls "ingest" and
 * "http"; they are served in place of what the conf says, and the caller's.
 */
struct handover_received *service_take(struct standing **standing,
                                       struct sockets units[HANDOVER_PLACES],
                                       struct rasad_error *error);

/* Takes all sockets that came with an exec, and can't be told any more, out of the store; the
 * caller closes them. Before any descriptor is opened. */
void service_give_up(void);

/* The server takes agents and scrapes, and this line is for people; it takes another conf; it is
 * about to stop. */
void service_tell_ready(const char *status);
void service_tell_reloading(void);
void service_tell_stopping(void);

/* A start that takes long goes on. `*told_ns` is when it was told last; 0 at the beginning. */
void service_tell_progress(int64_t *told_ns);

/* How often the manager is to hear that all goes well, or it ends us; 0: it doesn't ask. */
int64_t service_beat_ns(void);

/* Tells it so; false if it is too busy. */
bool service_beat(void);

/* Whether there is a service manager that may keep connections. */
bool service_is_there(void);

/*
 * Gives it the server as it is: no shard runs any more, nobody accepts, HTTP is paused, and all
 * that was applied is durable. On true the server's sockets live on when they are closed here.
 * False, with the reason in the log: nothing was kept.
 */
bool service_keep(struct server *server);
