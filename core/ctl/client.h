/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * client: a connection to a server's admin socket (core/admin.h tells what is spoken there). What
 * goes wrong is said on standard error at once; the result is the exit code, 0 if all is well.
 * Threads: one. Memory: what is read is lent until the next reading, unless it says otherwise.
 */
#include <json-c/json.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/text.h"

struct client {
    int fd;
    int patience_s;   /* for an answer; 0: for ever */
    const char *path; /* of the socket; lent by the environment */
    struct text in;   /* bytes that came */
    size_t taken;     /* of them, how many were lines that were given out */
    size_t searched;  /* of them, how many hold no further line */
};

/* How long a server may think about an ordinary question, and about a reload. */
#define CLIENT_PATIENCE_S 30
#define CLIENT_LONG_PATIENCE_S 600

/* Connects. To be ended with client_close(), whatever the result. */
int client_open(struct client *client);
void client_close(struct client *client);

/* Begins a request for this verb, {"verb":"…"; members may follow, then client_ask() ends it. */
void client_begin(struct text *request, const char *verb);

/* Adds a member, if the value is not NULL. The value is UTF-8. */
void client_add(struct text *request, const char *name, const char *value);

/* Ends the request, sends it and reads the reply. On 0 `*reply` is the whole of it, owned by the
 * caller. A reply that says no is said on standard error, and its code is the result. */
int client_ask(struct client *client, struct text *request, json_object **reply);

/* Sends bytes. */
int client_write(struct client *client, const char *bytes, size_t length);

/* Reads the next line; `*object` is owned by the caller. */
int client_read(struct client *client, json_object **object);

/* Waits for more; whether the server has closed its side instead. */
bool client_at_end(struct client *client);

/* Waits for bytes, however many come; they are lent until the next reading. */
int client_read_bytes(struct client *client, const char **bytes, size_t *length);

/* Whether a whole line lies here already, so that client_read() needn't wait. */
bool client_has_line(const struct client *client);

/* Connects, asks, and closes: for verbs with one question. */
int client_ask_once(struct text *request, int patience_s, json_object **reply);
