/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * listener: takes connections of senders in and gives each to its shard. Beyond the limit of
 * descriptors it accepts and closes at once, so that a sender is told and the listening socket
 * never keeps the poller spinning. Threads: one.
 */
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/gate.h"
#include "conf/conf.h"
#include "shard.h"

/* A name may resolve to several addresses. */
#define LISTENER_MOST_ADDRESSES 8

struct listener {
    struct shard_common *common;
    int fds[LISTENER_MOST_ADDRESSES];
    size_t count;
    const char *unix_path; /* lent by the conf; NULL for TCP */
    int spare;             /* a descriptor kept for when there is no other */
    int64_t most;          /* connections at once */
    struct gate refusals;  /* for the log */
    struct gate arrivals;  /* likewise */
    _Atomic uint64_t refused;
    uint64_t unix_peers; /* so far, for their names */
};

/* Opens the sockets. To be ended with listener_close(). */
bool listener_open(struct listener *listener, struct shard_common *common,
                   struct rasad_error *error);

/* Takes in what waits at this one of its sockets. False if it can't for now, for want of memory or
 * descriptors; then what waits is better left alone for a moment. */
bool listener_accept(struct listener *listener, int fd);

/* Takes in what waits at all of them, and closes them. */
void listener_close(struct listener *listener);
