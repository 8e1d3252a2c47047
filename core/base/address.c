/* SPDX-License-Identifier: Apache-2.0 */
#include "base/address.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/number.h"
#include "base/scoped.h"

void address_format(const struct sockaddr *address, char text[ADDRESS_LENGTH])
{
    char host[INET6_ADDRSTRLEN] = "";

    if (address->sa_family == AF_INET) {
        const struct sockaddr_in *v4 = (const void *)address;

        (void)inet_ntop(AF_INET, &v4->sin_addr, host, sizeof host);
        (void)snprintf(text, ADDRESS_LENGTH, "%s:%u", host, ntohs(v4->sin_port));
    } else if (address->sa_family == AF_INET6) {
        const struct sockaddr_in6 *v6 = (const void *)address;
        bool mapped = IN6_IS_ADDR_V4MAPPED(&v6->sin6_addr);

        if (mapped)
            (void)inet_ntop(AF_INET, &v6->sin6_addr.s6_addr[12], host, sizeof host);
        else
            (void)inet_ntop(AF_INET6, &v6->sin6_addr, host, sizeof host);
        (void)snprintf(text, ADDRESS_LENGTH, mapped ? "%s:%u" : "[%s]:%u", host,
                       ntohs(v6->sin6_port));
    } else {
        (void)snprintf(text, ADDRESS_LENGTH, "unix");
    }
}

void address_local(int fd, char text[ADDRESS_LENGTH])
{
    union {
        struct sockaddr any;
        struct sockaddr_un local;
        struct sockaddr_storage room;
    } address = {.room = {0}};
    socklen_t size = sizeof address;

    text[0] = '\0';
    if (getsockname(fd, &address.any, &size) != 0)
        return;
    if (address.any.sa_family == AF_UNIX)
        (void)snprintf(text, ADDRESS_LENGTH, "unix:%s", address.local.sun_path);
    else
        address_format(&address.any, text);
}

bool address_split(const char *text, uint16_t default_port, char host[256], uint16_t *port,
                   struct rasad_error *error)
{
    const char *start = text, *end = text + strlen(text);
    const char *colon = strrchr(text, ':');

    *port = default_port;
    if (text[0] == '[') {
        end = strchr(text, ']');
        if (end == NULL || (end[1] != '\0' && end[1] != ':'))
            return rasad_fail(error, "\"%s\" is no address (write HOST:PORT or [ADDRESS]:PORT)",
                              text);
        colon = end[1] == ':' ? end + 1 : NULL;
        start = text + 1;
    } else if (colon != NULL && strchr(text, ':') != colon) {
        colon = NULL; /* a bare IPv6 address */
    } else if (colon != NULL) {
        end = colon;
    }
    if (colon != NULL) {
        double number;

        if (!number_parse(colon + 1, strlen(colon + 1), &number) || number < 1 || number > 65535 ||
            number != (uint16_t)number)
            return rasad_fail(error, "\"%s\" is no port (write 1 to 65535)", colon + 1);
        *port = (uint16_t)number;
    }
    if (end == start || end - start > 255)
        return rasad_fail(error, "\"%s\" names no host (write HOST:PORT)", text);
    memcpy(host, start, (size_t)(end - start));
    host[end - start] = '\0';
    return true;
}

/* A listening socket for one resolved address; -1 with errno set if it fails. */
static int listen_one(const struct addrinfo *info, bool beside)
{
    static const int on = 1, off = 0;
    SCOPED(close_at)
    int fd = socket(info->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_TCP);

    if (fd < 0)
        return -1;
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (beside)
        address_share(fd, true);
    if (info->ai_family == AF_INET6) /* "::" takes IPv4 as well */
        (void)setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
    if (bind(fd, info->ai_addr, info->ai_addrlen) != 0 || listen(fd, SOMAXCONN) != 0)
        return -1;
    return take_fd(&fd);
}

static void free_infos(struct addrinfo **infos)
{
    if (*infos != NULL)
        freeaddrinfo(*infos);
}

void address_share(int fd, bool shared)
{
    const int on = shared;

    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on);
}

static bool listen_all(const char *host, uint16_t port, bool beside, int fds[], size_t most,
                       size_t *count, struct rasad_error *error)
{
    const struct addrinfo hints = {
        .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE};
    SCOPED(free_infos) struct addrinfo *infos = NULL;
    char service[8];
    int why;

    if (host[0] == '\0') /* "::" takes IPv4 as well, but a machine may have no IPv6 */
        return listen_all("::", port, beside, fds, most, count, error) ||
               listen_all("0.0.0.0", port, beside, fds, most, count, error);
    (void)snprintf(service, sizeof service, "%u", port);
    why = getaddrinfo(host, service, &hints, &infos);
    if (why != 0)
        return rasad_fail(error, "cannot listen on \"%s\": %s", host, gai_strerror(why));
    *count = 0;
    for (const struct addrinfo *info = infos; info != NULL && *count < most; info = info->ai_next) {
        char text[ADDRESS_LENGTH];
        int fd = listen_one(info, beside);

        if (fd >= 0) {
            fds[(*count)++] = fd;
            continue;
        }
        why = errno;
        if (info->ai_next != NULL && (why == EAFNOSUPPORT || why == EADDRNOTAVAIL))
            continue;
        if (*count > 0)
            break;
        address_format(info->ai_addr, text);
        return rasad_fail(error, "cannot listen on %s: %s%s", text, strerror(why),
                          why == EADDRINUSE ? " (another program has the port: ss -ltnp)" : "");
    }
    return true;
}

bool address_listen(const char *host, uint16_t port, int fds[], size_t most, size_t *count,
                    struct rasad_error *error)
{
    return listen_all(host, port, false, fds, most, count, error);
}

bool address_listen_beside(const char *host, uint16_t port, int fds[], size_t most, size_t *count,
                           struct rasad_error *error)
{
    return listen_all(host, port, true, fds, most, count, error);
}

/* Whether something answers at this socket. */
static bool unix_is_alive(const struct sockaddr_un *address)
{
    SCOPED(close_at) int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    return fd >= 0 && (connect(fd, (const void *)address, sizeof *address) == 0 || errno == EAGAIN);
}

bool address_listen_unix(const char *path, int *fd, struct rasad_error *error)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    SCOPED(close_at) int opened = -1;
    struct stat there;

    if (strlen(path) >= sizeof address.sun_path)
        return rasad_fail(error, "cannot listen on \"%s\": the path is longer than %zu bytes", path,
                          sizeof address.sun_path - 1);
    memcpy(address.sun_path, path, strlen(path) + 1);
    if (lstat(path, &there) == 0 && S_ISSOCK(there.st_mode) && !unix_is_alive(&address))
        (void)unlink(path);
    opened = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (opened < 0 || bind(opened, (const void *)&address, sizeof address) != 0 ||
        listen(opened, SOMAXCONN) != 0)
        return rasad_fail(error, "cannot listen on \"%s\": %s", path, strerror(errno));
    *fd = take_fd(&opened);
    return true;
}
