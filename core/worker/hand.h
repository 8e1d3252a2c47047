/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * hand: the process that runs an isolated plugin's update(), merge(), render() and migrate() on
 * what lies in a channel, job after job, until it is killed. Threads: one, and the process has no
 * other.
 */
#include <rasad/plugin.h>
#include <stddef.h>
#include <stdint.h>

#include "isolate/channel.h"

/* What it works with. */
struct hand_work {
    const struct rasad_plugin *api;
    const void *config;
    size_t state_bytes;
    struct channel channel;
    uint32_t missing; /* steps of the sandbox that were not permitted */
};

/* Closes the sandbox, says that it is there, and works; never returns. The caller has mapped the
 * channel's memory in one piece. */
_Noreturn void hand_run(struct hand_work *work);
