/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * admin_client: one connection to the admin socket: its requests in, replies out, within time.
 * Threads: its own, until it is ended. Memory: the request and the reply at hand.
 */
#include <stdbool.h>
#include <sys/types.h>

#include "admin/admin.h"
#include "admin/admin_request.h"
#include "base/frame.h"
#include "base/text.h"
#include "message.h"

struct admin_client {
    struct server *server;
    int fd;   /* -1: it became a sender's, or was never there */
    int stop; /* eventfd: readable when the server stops; lent */
    pid_t pid;
    uid_t uid;
    struct frame frame;
    struct text in;
    struct text out; /* the reply at hand */
    struct message_reader *reader;
};

/* Answers requests until the client goes, does wrong or is too slow, or the server stops; closes
 * the connection. */
void admin_client_serve(struct admin_client *client);

/* Sends client->out and clears it; false if the client should be closed. */
bool admin_client_flush(struct admin_client *client);

/* Makes client->out the reply that says no; `member` is "error" or "report". */
void admin_client_refuse(struct admin_client *client, int code, const char *member,
                         const char *text);

/* Waits until the socket has one of these events (POLLIN, POLLOUT), or the bell (-1: none) rings,
 * or the client is gone; false if the server stops or it took too long (timeout_ms; -1: for ever).
 * `*heard`: there is something to read, or nobody left. */
bool admin_client_wait(struct admin_client *client, short events, int bell, int timeout_ms,
                       bool *heard);

/* The verbs that go on: they answer, and then have the connection to themselves. */
void admin_watch_tail(struct admin_client *client, const struct admin_request *request);
void admin_watch_send(struct admin_client *client);
