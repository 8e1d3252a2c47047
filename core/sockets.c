/* SPDX-License-Identifier: Apache-2.0 */
#include "sockets.h"

#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/address.h"
#include "base/scoped.h"

static const char unix_prefix[] = "unix:";

static bool open_unix(const char *path, struct sockets *sockets, struct rasad_error *error)
{
    if ((sockets->unix_path = strdup(path)) == NULL)
        return rasad_fail_memory(error);
    if (address_listen_unix(path, &sockets->fds[0], error)) {
        sockets->count = 1;
        return true;
    }
    free(sockets->unix_path); /* the socket there, if any, is another's */
    sockets->unix_path = NULL;
    return false;
}

/* The port that was bound; 0 of a unix socket. */
static uint16_t bound_port(const struct sockets *sockets)
{
    struct sockaddr_storage address = {0};
    socklen_t size = sizeof address;

    if (sockets->count == 0 || sockets->unix_path != NULL ||
        getsockname(sockets->fds[0], (struct sockaddr *)&address, &size) != 0)
        return 0;
    return ntohs(address.ss_family == AF_INET6
                     ? ((const struct sockaddr_in6 *)(const void *)&address)->sin6_port
                     : ((const struct sockaddr_in *)(const void *)&address)->sin_port);
}

static void share_all(const struct sockets *sockets, bool shared)
{
    for (size_t i = 0; i < sockets->count; i++)
        address_share(sockets->fds[i], shared);
}

static bool open_tcp(const struct conf_listen *listen, const struct sockets *running,
                     struct sockets *sockets, struct rasad_error *error)
{
    bool opened = address_listen(listen->address, listen->port, sockets->fds, SOCKETS_MOST,
                                 &sockets->count, error);

    if (opened || running == NULL || bound_port(running) != listen->port)
        return opened;
    sockets_close(sockets);
    share_all(running, true);
    opened = address_listen_beside(listen->address, listen->port, sockets->fds, SOCKETS_MOST,
                                   &sockets->count, error);
    share_all(running, false);
    share_all(sockets, false);
    return opened;
}

bool sockets_open(const struct conf_listen *listen, const struct sockets *running,
                  struct sockets *sockets, struct rasad_error *error)
{
    SCOPED(free_at) char *address = strdup(listen->address);
    size_t prefix = sizeof unix_prefix - 1;

    *sockets = (struct sockets){.count = 0};
    if (address == NULL)
        return rasad_fail_memory(error);
    if (strncmp(address, unix_prefix, prefix) == 0) {
        if (!open_unix(address + prefix, sockets, error))
            return false;
    } else if (!open_tcp(listen, running, sockets, error)) {
        sockets_close(sockets);
        return false;
    }
    sockets->address = TAKE(address);
    sockets->port = listen->port;
    return true;
}

/* The port that is bound counts, for the section may have asked for any. */
bool sockets_serve(const struct sockets *sockets, const struct conf_listen *listen)
{
    if (sockets->is_units)
        return true;
    if (sockets->address == NULL || strcmp(sockets->address, listen->address) != 0)
        return false;
    return sockets->unix_path != NULL || sockets->port == listen->port ||
           bound_port(sockets) == listen->port;
}

void sockets_log(const struct sockets *sockets, const char *message, const struct log *log)
{
    char text[ADDRESS_LENGTH];

    for (size_t i = 0; i < sockets->count; i++) {
        address_local(sockets->fds[i], text);
        log_info(log, message, log_text("address", text));
    }
}

void sockets_close(struct sockets *sockets)
{
    for (size_t i = 0; i < sockets->count; i++)
        close_at(&sockets->fds[i]);
    if (sockets->unix_path != NULL)
        (void)unlink(sockets->unix_path);
    free(sockets->unix_path);
    free(sockets->address);
    *sockets = (struct sockets){.count = 0};
}

void sockets_leave(struct sockets *sockets)
{
    free(sockets->unix_path);
    sockets->unix_path = NULL;
}

bool socket_listens(int fd)
{
    int on = 0;
    socklen_t size = sizeof on;

    return fd >= 0 && getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &on, &size) == 0 && on != 0;
}

struct sockets sockets_take(struct sockets *sockets)
{
    struct sockets taken = *sockets;

    *sockets = (struct sockets){.count = 0};
    return taken;
}
