/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * resolver: asks for a host's addresses without making the caller wait. A name server that is away
 * holds getaddrinfo(3) up for many seconds, and nothing can end it, so it runs in a thread that
 * outlives whoever asked: the two share a lookup by reference.
 * Threads: the caller's functions from one thread; the result comes from another.
 */
#include <netdb.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

struct lookup;

/* Begins a lookup; `wake_fd` (an eventfd, of which it keeps a copy) becomes readable when it has
 * ended. To be ended with lookup_drop(). */
bool lookup_start(const char *host, uint16_t port, int wake_fd, struct lookup **out,
                  struct rasad_error *error);

/* Whether it has ended. If so, `*infos` are the addresses, which the caller frees with
 * freeaddrinfo(), or NULL with the error filled; to be asked until then, once more never. */
bool lookup_ended(struct lookup *lookup, struct addrinfo **infos, struct rasad_error *error);

/* Lets go of it, ended or not. */
void lookup_drop(struct lookup *lookup);
