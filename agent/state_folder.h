/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * state_folder: where an agent's spool lies if its conf doesn't say: $STATE_DIRECTORY (the first,
 * if systemd gives several), else $XDG_STATE_HOME/rasad-agent/NAME, else
 * ~/.local/state/rasad-agent/NAME. Threads: reads the environment, so from one thread while nobody
 * changes that.
 */
#include <limits.h>
#include <stdbool.h>

#include "base/error.h"

/* The folder for the agent of this name, which need not be there yet. */
bool state_folder(const char *name, char path[PATH_MAX], struct rasad_error *error);
