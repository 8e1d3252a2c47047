/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * address: socket addresses as people write and read them.
 */
#include <netdb.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "base/error.h"

/* Room for any address that address_format() writes, with its NUL. */
#define ADDRESS_LENGTH 128

/* "127.0.0.1:41604", "[::1]:41604"; a v4-mapped address as v4. */
void address_format(const struct sockaddr *address, char text[ADDRESS_LENGTH]);

/* The address that a socket has on our side, "unix:PATH" of a unix socket; "" if it can't be told.
 */
void address_local(int fd, char text[ADDRESS_LENGTH]);

/* "HOST", "HOST:PORT", "[V6]:PORT", "V6": the host (of at most 255 bytes) without brackets, and
 * the port, or `default_port` without one. */
bool address_split(const char *text, uint16_t default_port, char host[256], uint16_t *port,
                   struct rasad_error *error);

/*
 * Listens for TCP on every address that the host resolves to ("" is every local one), non-blocking,
 * close-on-exec, and with port 0 on a free one. Fills up to `most` descriptors, which the caller
 * closes, and returns their number through `*count`.
 */
bool address_listen(const char *host, uint16_t port, int fds[], size_t most, size_t *count,
                    struct rasad_error *error);

/* The same beside sockets of ours that have the port on other addresses, such as 0.0.0.0 beside
 * 127.0.0.1; address_share() must have been called for them. */
bool address_listen_beside(const char *host, uint16_t port, int fds[], size_t most, size_t *count,
                           struct rasad_error *error);

/* Whether address_listen_beside() may use the socket's port. */
void address_share(int fd, bool shared);

/* Listens on a unix socket at this path, non-blocking, close-on-exec; takes the place of a socket
 * that nobody listens on any more. */
bool address_listen_unix(const char *path, int *fd, struct rasad_error *error);
