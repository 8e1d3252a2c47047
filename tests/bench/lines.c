/* SPDX-License-Identifier: Apache-2.0 */
#include "lines.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/scoped.h"

#define BUFFER_BYTES ((size_t)256 * 1024)

struct connection {
    int fd; /* owned */
    const struct lines_handler *handler;
};

/* Handles the lines that are whole and returns how many bytes they took. */
static size_t handle(const struct lines_handler *handler, void *context, const char *bytes,
                     size_t size)
{
    size_t done = 0;
    const char *end;

    while ((end = memchr(bytes + done, '\n', size - done)) != NULL) {
        handler->line(context, bytes + done, (size_t)(end - bytes) - done);
        done = (size_t)(end - bytes) + 1;
    }
    return done;
}

/* Until the peer's end, or a line that is longer than the buffer. */
static void read_lines(const struct connection *connection, void *context, char *buffer)
{
    size_t used = 0, done;
    ssize_t got;

    while ((got = read(connection->fd, buffer + used, BUFFER_BYTES - used)) != 0) {
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return;
        used += (size_t)got;
        done = handle(connection->handler, context, buffer, used);
        memmove(buffer, buffer + done, used - done);
        used -= done;
    }
}

static void *serve_connection(void *argument)
{
    SCOPED(free_at) struct connection *connection = argument;
    SCOPED(free_at) char *buffer = malloc(BUFFER_BYTES);
    void *context = connection->handler->begin();

    if (buffer != NULL)
        read_lines(connection, context, buffer);
    connection->handler->end(context);
    (void)close(connection->fd);
    return NULL;
}

/* Takes the descriptor over. */
static bool start_thread(int fd, const struct lines_handler *handler)
{
    struct connection *connection = malloc(sizeof *connection);
    pthread_t thread;

    if (connection != NULL) {
        *connection = (struct connection){.fd = fd, .handler = handler};
        if (pthread_create(&thread, NULL, serve_connection, connection) == 0)
            return pthread_detach(thread) == 0;
    }
    free(connection);
    (void)close(fd);
    return false;
}

/* A listening socket on a free port, which it prints; -1 on failure. */
static int listen_somewhere(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    SCOPED(close_at) int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd < 0 || bind(fd, (struct sockaddr *)&address, size) != 0 || listen(fd, 128) != 0 ||
        getsockname(fd, (struct sockaddr *)&address, &size) != 0)
        return -1;
    (void)printf("%u\n", ntohs(address.sin_port));
    (void)fflush(stdout);
    return take_fd(&fd);
}

int lines_serve(const struct lines_handler *handler)
{
    SCOPED(close_at) int listener = listen_somewhere();
    int fd;

    if (listener < 0)
        return perror("listen"), 1;
    while ((fd = accept(listener, NULL, NULL)) >= 0 || errno == EINTR)
        if (fd >= 0 && !start_thread(fd, handler))
            return perror("thread"), 1;
    return perror("accept"), 1;
}
