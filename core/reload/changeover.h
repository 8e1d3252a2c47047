/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * changeover: the moment of a reload in which the server goes over from one conf to the next:
 * scrapes wait, shards stand still (standstill.h), families and series become what the next conf
 * says, and all go on. If anything of that can't be, all is as it was. Why it is done this way,
 * docs/why/reload-stands-still.md tells.
 * Threads: any but the shards'; one at a time.
 */
#include <stdbool.h>
#include <stdint.h>

#include "base/text.h"
#include "reload/plan.h"

struct server;

/*
 * Puts `*conf` in the place of the server's, by the plan that compares the two; the one in whose
 * place it comes is in `*conf` then, and the caller's. On false nothing has changed, and the report
 * has a line for each reason. `*paused_ns`: how long the shards stood still.
 */
bool changeover_run(struct server *server, struct conf **conf, const struct plan *plan,
                    int64_t *paused_ns, struct text *report);
