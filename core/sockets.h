/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * sockets: what a `listen` or `http` section of the conf opens: a unix socket, or one for each
 * address that the host resolves to.
 * Threads: none inside. Memory: a plain value that owns its descriptors and texts.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/log.h"
#include "conf/conf.h"

/* A name may resolve to several addresses. */
#define SOCKETS_MOST 8

struct sockets {
    int fds[SOCKETS_MOST];
    size_t count;
    char *address; /* of the section that they came of; NULL: it isn't known, or a socket unit's */
    uint16_t port; /* likewise: 0 for any */
    char *unix_path; /* NULL for TCP, and for those of a socket unit */
    bool is_units;   /* the service manager opened them, and keeps them when we close ours */
};

/* Opens them. `running` are those whose place they take, and may have the same port on another
 * address; NULL: there are none. On false there are no new ones. */
bool sockets_open(const struct conf_listen *listen, const struct sockets *running,
                  struct sockets *sockets, struct rasad_error *error);

/* Whether these are what the section asks for already. Those of a unit serve in place of what any
 * asks for. */
bool sockets_serve(const struct sockets *sockets, const struct conf_listen *listen);

/* Logs the addresses: "listening address=127.0.0.1:5050". */
void sockets_log(const struct sockets *sockets, const char *message, const struct log *log);

/* Closes them; fits SCOPED, and those of zeros are fine. */
void sockets_close(struct sockets *sockets);

/* Their unix path, if any, stays when they are closed: another process serves there. */
void sockets_leave(struct sockets *sockets);

/* Whether it is a socket that listens, and wasn't shut down. */
bool socket_listens(int fd);

/* The sockets, which are the caller's now. */
struct sockets sockets_take(struct sockets *sockets);
