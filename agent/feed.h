/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * feed: `rasad-agent --stdin`: pushes the messages of a descriptor and ends once the server has
 * acknowledged all of them. It reads no faster than the server takes.
 */
#include "base/log.h"
#include "client.h"

/*
 * Feeds until the end of `in_fd`, or until `signal_fd` becomes readable. Returns the program's exit
 * code: 0; 65 if a message was refused here; 1 if some were not acknowledged when the signal came,
 * or were dropped, or the descriptor can't be read.
 */
int feed_run(struct client *client, const struct log *log, int in_fd, int signal_fd);
