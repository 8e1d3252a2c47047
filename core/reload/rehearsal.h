/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * rehearsal: before a reload lets a plugin migrate() states in the server, it does so in a process
 * of its own, on copies of up to REHEARSAL_STATES of them: a crash or a no is found there, with
 * nothing at stake and no shard waiting. Threads: any but the shards'. It shuts nobody out for
 * longer than the copying takes.
 */
#include <stdbool.h>

#include "base/error.h"
#include "base/log.h"
#include "family.h"
#include "reload/plan.h"
#include "view.h"

/* States of a section that are tried at most, and their bytes. */
#define REHEARSAL_STATES 1000
#define REHEARSAL_BYTES (4 << 20)

/* Whether all that the plan would have migrated could be; the error names the metric. Isolated
 * plugins need none: they harm nobody. */
bool rehearsal_run(const struct plan *plan, struct view *view, const struct families *families,
                   const struct log *log, struct rasad_error *error);
