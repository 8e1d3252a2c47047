/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * library: librasad-client (rasad/client.h) over the client (client.h). It checks what comes from
 * strangers, and knows what may be left out; all else is the client's. This header is for the agent
 * program, which is the library's first user and needs two things that others don't.
 * Threads, memory: as rasad/client.h says.
 */
#include <rasad/client.h>

#include "base/log.h"
#include "client.h"

/* rasad_client_open() with a log of ours (lent) rather than the options'. */
int library_open(const struct rasad_client_options *options, const struct log *log,
                 struct rasad_client **client, struct rasad_client_error *error);

/* What is inside: for pings, waiting in poll(), and messages that are to be refused. */
struct client *library_client(struct rasad_client *client);
