/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * upgrade: another program takes this one's place, in the same process and with its connections
 * (docs/why/upgrade-by-exec.md):
 *   1. the new program is tried in a child: it reads the conf, loads the plugins, and says whether
 *      it can read what this one hands over;
 *   2. HTTP finishes the requests at hand, whoever comes waits in the socket's queue; nobody is
 *      accepted any more, and the shards stand still;
 *   3. what was applied is made durable (durable.h);
 *   4. the handover is written (handover.h), and exactly its descriptors survive
 *   5. the exec.
 * Until that succeeds nothing was closed and nothing forgotten, so a failure at any step undoes
 * those before it, and this program goes on.
 * Threads: any but the shards' and the server's loop; it excludes reloads and other upgrades.
 */
#include "base/text.h"

struct server;

/*
 * Does it, and doesn't return if it succeeds. `asker` is a client's socket at which the new program
 * says so; -1: nobody waits. If it returns, this program goes on; `*code` is an exit code for
 * whoever asked, EX_CONFIG if the conf is to blame, and the report says why, a line for each
 * reason.
 */
void server_upgrade(struct server *server, int asker, int *code, struct text *report);
