/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * listener: takes connections of senders in and gives each to its shard. Beyond the limit of
 * descriptors it accepts and closes at once, so that a sender is told and the listening socket
 * never keeps the poller spinning.
 * Threads: one, that of the server's loop; listener_lock() and listener_change() from any.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/gate.h"
#include "shard.h"
#include "sockets.h"

struct listener {
    struct shard_common *common;
    struct sockets sockets; /* changed by its thread, under the lock */
    pthread_mutex_t lock;
    struct sockets next; /* under the lock: what takes the place of `sockets`, if any */
    int bell;            /* eventfd: there is something in `next` */
    int spare;           /* a descriptor kept for when there is no other */
    int64_t most;        /* connections at once */
    _Atomic size_t max_message;
    struct gate refusals; /* for the log */
    struct gate arrivals; /* likewise */
    _Atomic uint64_t refused;
    uint64_t unix_peers; /* so far, for their names */
};

/* Takes over the sockets, even on false. To be ended with listener_close(). */
bool listener_open(struct listener *listener, struct shard_common *common, struct sockets *sockets,
                   struct rasad_error *error);

/* The sockets that it listens at, or is about to, which stay so until listener_unlock(). */
const struct sockets *listener_lock(struct listener *listener);
void listener_unlock(struct listener *listener);

/* Has other sockets, or NULL, and this max_message take the place of the present ones. */
void listener_change(struct listener *listener, struct sockets *sockets, size_t max_message);

/* After the bell: takes in what waits at the old sockets and goes on with the new ones. */
void listener_turn(struct listener *listener);

/* Takes in what waits at this one of its sockets. False if it can't for now, for want of memory or
 * descriptors; then what waits is better left alone for a moment. */
bool listener_accept(struct listener *listener, int fd);

/* A connection of this name is there already: no new one will be called so. */
void listener_note_name(struct listener *listener, const char *address);

/* Takes in what waits at all of them, and closes them. */
void listener_close(struct listener *listener);
