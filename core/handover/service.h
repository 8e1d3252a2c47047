/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * service: systemd as the service manager: it hears how we are, and keeps what connections are made
 * of between the end of one process and the start of the next (FileDescriptorStoreMax=), so that
 * `systemctl restart` costs no connection. It is the handover of an upgrade (handover.h), given
 * away and got back by another way:
 *   - all descriptors go into the store, the handover's memory as "rasad-handover", sockets as
 *     "rasad-socket". They come back as other numbers and in any order, so the handover tells each
 *     socket by its cookie (SO_COOKIE), which is one socket's alone while the machine runs;
 *   - what is counted from a process's start is not handed on.
 * Without a service manager, or one that keeps nothing, all of it does nothing.
 * Threads: one, that of main.
 */
#include <stdbool.h>

#include "base/log.h"
#include "handover/handover.h"

struct server;

/* Takes what the store has for us, which forgets it; NULL if there is nothing, or if it can't be
 * read: then it is closed, and the error says why. Before any descriptor is opened. */
struct handover_received *service_take(struct rasad_error *error);

/* The server takes agents and scrapes; it is about to stop. */
void service_tell_ready(void);
void service_tell_stopping(void);

/* Whether there is a service manager that may keep connections. */
bool service_is_there(void);

/*
 * Gives it the server as it is: no shard runs any more, nobody accepts, HTTP is paused, and all
 * that was applied is durable. On true the server's sockets live on when they are closed here.
 * False, with the reason in the log: nothing was kept.
 */
bool service_keep(struct server *server);
