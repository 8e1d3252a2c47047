/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * lines: a server that does as little as a server can: it reads and hands out lines. The programs
 * that rasadd is measured against are built on it.
 * Threads: one a connection, so a handler's context must be the connection's own.
 */
#include <stddef.h>

struct lines_handler {
    void *(*begin)(void);                                       /* a connection's context */
    void (*line)(void *context, const char *line, size_t size); /* without its newline; lent */
    void (*end)(void *context);
};

/*
 * Listens on a free port of 127.0.0.1, prints it as a line, and serves until it is killed. A
 * connection is closed when its peer has half-closed it and all its lines are handled. Returns the
 * exit code if it cannot begin.
 */
int lines_serve(const struct lines_handler *handler);
