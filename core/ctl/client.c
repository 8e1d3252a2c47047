/* SPDX-License-Identifier: Apache-2.0 */
#include "client.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/scoped.h"
#include "ctl.h"

#define READ_BYTES (64 << 10)

static const char *socket_path(void)
{
    const char *path = getenv(CTL_SOCKET_VARIABLE);

    return path != NULL && path[0] != '\0' ? path : CTL_DEFAULT_SOCKET;
}

static int out_of_memory(void)
{
    (void)fputs("rasadctl: out of memory\n", stderr);
    return EXIT_FAILURE;
}

/* Why there is no connection: what is the matter, and what to do about it. */
static int explain(const struct client *client, int why)
{
    char reason[256];
    bool forbidden = why == EACCES || why == EPERM;

    (void)snprintf(reason, sizeof reason, "%s", strerror(why));
    reason[0] = (char)tolower((unsigned char)reason[0]);
    if (forbidden)
        (void)fprintf(stderr,
                      "rasadctl: no access to %s: %s (join the socket's group, or use sudo)\n",
                      client->path, reason);
    else
        (void)fprintf(stderr, "rasadctl: no server at %s: %s (is rasadd running?)\n", client->path,
                      reason);
    return forbidden ? EX_NOPERM : EX_UNAVAILABLE;
}

static int lost(const struct client *client)
{
    (void)fprintf(stderr, "rasadctl: %s: the server has closed the connection\n", client->path);
    return EX_UNAVAILABLE;
}

int client_open(struct client *client)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};

    *client = (struct client){.fd = -1, .path = socket_path(), .patience_s = CLIENT_PATIENCE_S};
    if (strlen(client->path) >= sizeof address.sun_path) {
        (void)fprintf(stderr, "rasadctl: %s: a socket's path has at most %zu bytes\n", client->path,
                      sizeof address.sun_path - 1);
        return EX_USAGE;
    }
    memcpy(address.sun_path, client->path, strlen(client->path) + 1);
    client->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (client->fd < 0 || connect(client->fd, (const void *)&address, sizeof address) != 0)
        return explain(client, errno);
    return 0;
}

void client_close(struct client *client)
{
    close_at(&client->fd);
    client->fd = -1;
    text_free(&client->in);
}

void client_begin(struct text *request, const char *verb)
{
    text_clear(request);
    text_add_string(request, "{\"verb\":");
    text_add_json(request, verb, strlen(verb));
}

void client_add(struct text *request, const char *name, const char *value)
{
    if (value == NULL)
        return;
    text_printf(request, ",\"%s\":", name);
    text_add_json(request, value, strlen(value));
}

/* False if nobody takes it any more. */
static bool send_all(const struct client *client, const char *bytes, size_t length)
{
    while (length > 0) {
        ssize_t sent = send(client->fd, bytes, length, MSG_NOSIGNAL);

        if (sent < 0 && errno == EINTR)
            continue;
        if (sent < 0)
            return false;
        bytes += sent;
        length -= (size_t)sent;
    }
    return true;
}

int client_write(struct client *client, const char *bytes, size_t length)
{
    return send_all(client, bytes, length) ? 0 : lost(client);
}

/* The line feed that ends the next line; NULL if it has not come yet. */
static const char *find_line(const struct client *client)
{
    if (client->in.length == client->searched)
        return NULL;
    return memchr(client->in.at + client->searched, '\n', client->in.length - client->searched);
}

bool client_has_line(const struct client *client)
{
    return find_line(client) != NULL;
}

bool client_at_end(struct client *client)
{
    char next;

    return client->in.length == client->taken && recv(client->fd, &next, 1, MSG_PEEK) == 0;
}

/* Adds what comes next. */
static int read_more(struct client *client)
{
    const struct timeval patience = {.tv_sec = client->patience_s};
    ssize_t got;

    memmove(client->in.at, client->in.at + client->taken, client->in.length - client->taken);
    client->in.length -= client->taken;
    client->taken = 0;
    client->searched = client->in.length;
    if (!text_reserve(&client->in, READ_BYTES))
        return out_of_memory();
    (void)setsockopt(client->fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    do
        got = recv(client->fd, client->in.at + client->in.length, READ_BYTES, 0);
    while (got < 0 && errno == EINTR);
    if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
        (void)fprintf(stderr, "rasadctl: the server at %s gives no answer within %d s\n",
                      client->path, client->patience_s);
        return EX_UNAVAILABLE;
    }
    if (got <= 0)
        return lost(client);
    client->in.length += (size_t)got;
    return 0;
}

int client_read(struct client *client, json_object **object)
{
    struct json_tokener *tokener;
    const char *line, *end;
    int status = 0;

    if (!text_reserve(&client->in, 1))
        return out_of_memory();
    while (status == 0 && (end = find_line(client)) == NULL)
        status = read_more(client);
    if (status != 0)
        return status;
    line = client->in.at + client->taken;
    client->taken += (size_t)(end + 1 - line);
    client->searched = client->taken;
    tokener = json_tokener_new();
    if (tokener == NULL)
        return out_of_memory();
    *object = json_tokener_parse_ex(tokener, line, (int)(end - line));
    json_tokener_free(tokener);
    if (*object != NULL)
        return 0;
    (void)fprintf(stderr, "rasadctl: %s: this is no answer of a Rasad server\n", client->path);
    return EXIT_FAILURE;
}

int client_read_bytes(struct client *client, const char **bytes, size_t *length)
{
    int status = client->taken < client->in.length ? 0 : read_more(client);

    if (status != 0)
        return status;
    *bytes = client->in.at + client->taken;
    *length = client->in.length - client->taken;
    client->taken = client->in.length;
    client->searched = client->taken;
    return 0;
}

/* What a reply that says no has to say: a report as it is, or an error in a line of ours. */
static int say_no(json_object *reply)
{
    json_object *code = NULL, *text = NULL;

    (void)json_object_object_get_ex(reply, "code", &code);
    if (json_object_object_get_ex(reply, "report", &text))
        (void)fputs(json_object_get_string(text), stderr);
    else if (json_object_object_get_ex(reply, "error", &text))
        (void)fprintf(stderr, "rasadctl: %s\n", json_object_get_string(text));
    return json_object_get_int(code) > 0 ? json_object_get_int(code) : EXIT_FAILURE;
}

int client_ask(struct client *client, struct text *request, json_object **reply)
{
    json_object *fine = NULL;
    int status;

    text_add_string(request, "}\n");
    if (request->failed)
        return out_of_memory();
    /* A server that has no place for us says so and closes, before it has read anything. */
    (void)send_all(client, request->at, request->length);
    status = client_read(client, reply);
    if (status != 0)
        return status;
    (void)json_object_object_get_ex(*reply, "ok", &fine);
    if (json_object_get_boolean(fine))
        return 0;
    status = say_no(*reply);
    (void)json_object_put(*reply);
    *reply = NULL;
    return status;
}

int client_ask_once(struct text *request, int patience_s, json_object **reply)
{
    SCOPED(client_close) struct client client;
    int status = client_open(&client);

    client.patience_s = patience_s;
    return status != 0 ? status : client_ask(&client, request, reply);
}
