/* SPDX-License-Identifier: Apache-2.0 */
#include "listener.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/address.h"
#include "base/clock.h"
#include "base/scoped.h"
#include "connection.h"

/* Connections taken in at a time, before the caller looks at anything else. */
#define AT_ONCE 256

bool listener_open(struct listener *listener, struct shard_common *common, struct sockets *sockets,
                   struct rasad_error *error)
{
    *listener = (struct listener){.common = common, .refusals = gate_make(1, 5)};
    (void)pthread_mutex_init(&listener->lock, NULL);
    listener->arrivals = gate_make(SHARD_LOGGED_PER_SECOND, SHARD_LOGGED_AT_ONCE);
    listener->sockets = sockets_take(sockets);
    atomic_store(&listener->max_message, common->conf->max_message);
    listener->spare = open("/dev/null", O_RDONLY | O_CLOEXEC);
    listener->bell = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (listener->bell < 0)
        return rasad_fail(error, "cannot make a descriptor: %s", strerror(errno));
    sockets_log(&listener->sockets, "listening", common->log);
    return true;
}

const struct sockets *listener_lock(struct listener *listener)
{
    (void)pthread_mutex_lock(&listener->lock);
    return listener->next.count > 0 ? &listener->next : &listener->sockets;
}

void listener_unlock(struct listener *listener)
{
    (void)pthread_mutex_unlock(&listener->lock);
}

void listener_change(struct listener *listener, struct sockets *sockets, size_t max_message)
{
    atomic_store(&listener->max_message, max_message);
    if (sockets == NULL)
        return;
    sockets_log(sockets, "listening", listener->common->log);
    (void)pthread_mutex_lock(&listener->lock);
    sockets_close(&listener->next); /* one that was never turned to */
    listener->next = sockets_take(sockets);
    (void)pthread_mutex_unlock(&listener->lock);
    (void)eventfd_write(listener->bell, 1);
}

static bool somebody_waits(int fd)
{
    struct pollfd polled = {.fd = fd, .events = POLLIN};

    return poll(&polled, 1, 0) > 0;
}

/* Who waits is taken in first: what the kernel has accepted it would reset. */
static void close_sockets(struct listener *listener)
{
    for (size_t i = 0; i < listener->sockets.count; i++) {
        int fd = listener->sockets.fds[i];

        while (!listener->common->is_left && somebody_waits(fd) && listener_accept(listener, fd))
            continue;
    }
    sockets_close(&listener->sockets);
}

void listener_turn(struct listener *listener)
{
    eventfd_t count;

    (void)eventfd_read(listener->bell, &count);
    (void)pthread_mutex_lock(&listener->lock);
    if (listener->next.count > 0) {
        close_sockets(listener);
        listener->sockets = sockets_take(&listener->next);
    }
    (void)pthread_mutex_unlock(&listener->lock);
}

/* The sender's address as a label: "unix:PID.N" for one on this machine. */
static void name_peer(struct listener *listener, int fd, const struct sockaddr *peer,
                      char text[ADDRESS_LENGTH])
{
    struct ucred credentials = {0};
    socklen_t size = sizeof credentials;

    if (peer->sa_family != AF_UNIX) {
        address_format(peer, text);
        return;
    }
    (void)getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &credentials, &size);
    (void)snprintf(text, ADDRESS_LENGTH, "unix:%ld.%llu", (long)credentials.pid,
                   (unsigned long long)++listener->unix_peers);
}

void listener_note_name(struct listener *listener, const char *address)
{
    const char *dot = strncmp(address, "unix:", 5) == 0 ? strrchr(address, '.') : NULL;
    uint64_t number = dot != NULL ? strtoull(dot + 1, NULL, 10) : 0;

    if (number > listener->unix_peers)
        listener->unix_peers = number;
}

/* Replies leave at once, and a peer whose machine is gone is noticed in the end. */
static void set_options(int fd)
{
    static const int on = 1, idle_s = 60, interval_s = 10, probes = 6;

    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    (void)setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
    (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle_s, sizeof idle_s);
    (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval_s, sizeof interval_s);
    (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &probes, sizeof probes);
}

static void refuse(struct listener *listener, const char *why)
{
    uint64_t more;

    (void)atomic_fetch_add_explicit(&listener->refused, 1, memory_order_relaxed);
    if (gate_pass(&listener->refusals, clock_steady_ns(), &more))
        log_warning(listener->common->log, "connection refused", log_text("reason", why),
                    log_text("hint", "raise the limit of open files (LimitNOFILE, ulimit -n)"),
                    log_number("more_like_this", (int64_t)more));
}

/* No descriptor is left: the spare one makes room to take the connection in and close it. */
static bool refuse_without_descriptor(struct listener *listener, int fd)
{
    int peer;

    if (listener->spare < 0)
        listener->spare = open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (listener->spare < 0)
        return false;
    (void)close(listener->spare);
    peer = accept4(fd, NULL, NULL, SOCK_CLOEXEC);
    close_at(&peer);
    listener->spare = open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (peer >= 0)
        refuse(listener, "no file descriptor is left");
    return peer >= 0;
}

static void log_arrival(struct listener *listener, const char *address, int64_t open)
{
    uint64_t more;

    if (!gate_pass(&listener->arrivals, clock_steady_ns(), &more))
        return;
    log_info(listener->common->log, "new connection", log_text("address", address));
    log_info(listener->common->log, "active connections", log_number("count", open));
}

static void take_in(struct listener *listener, int fd, const struct sockaddr *peer)
{
    struct shard_common *common = listener->common;
    int64_t open = atomic_load(&common->connection_count);
    struct connection *connection;
    char text[ADDRESS_LENGTH];

    if (open >= listener->most) {
        (void)close(fd);
        refuse(listener, "as many connections are open as file descriptors allow");
        return;
    }
    if (peer->sa_family != AF_UNIX)
        set_options(fd);
    name_peer(listener, fd, peer, text);
    connection = connection_new(fd, text, atomic_load(&listener->max_message));
    if (connection == NULL) {
        refuse(listener, "out of memory");
        return;
    }
    open = atomic_fetch_add(&common->connection_count, 1) + 1;
    log_arrival(listener, text, open);
    shard_give(&common->shards[connection_shard(text, strlen(text), common->shard_count)],
               connection);
}

/* Whether accept(2) failed for one connection only, or for none being there. */
static bool is_passing(int why)
{
    switch (why) {
    case EINTR:
    case ECONNABORTED:
    case EPROTO: /* and other errors of the network that accept(2) hands on */
    case ENETDOWN:
    case ENOPROTOOPT:
    case EHOSTDOWN:
    case ENONET:
    case EHOSTUNREACH:
    case EOPNOTSUPP:
    case ENETUNREACH:
        return true;
    default:
        return false;
    }
}

bool listener_accept(struct listener *listener, int fd)
{
    for (int i = 0; i < AT_ONCE; i++) {
        struct sockaddr_storage peer;
        socklen_t size = sizeof peer;
        int taken = accept4(fd, (struct sockaddr *)&peer, &size, SOCK_CLOEXEC | SOCK_NONBLOCK);

        if (taken >= 0) {
            take_in(listener, taken, (struct sockaddr *)&peer);
        } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
            return true; /* nobody waits any more */
        } else if (errno == EMFILE || errno == ENFILE) {
            if (!refuse_without_descriptor(listener, fd))
                return false;
        } else if (!is_passing(errno)) {
            refuse(listener, strerror(errno));
            return false;
        }
    }
    return true;
}

void listener_close(struct listener *listener)
{
    if (listener->common == NULL)
        return;
    close_sockets(listener);
    sockets_close(&listener->next);
    close_at(&listener->spare);
    close_at(&listener->bell);
    listener->spare = -1;
    listener->bell = -1;
    (void)pthread_mutex_destroy(&listener->lock);
    listener->common = NULL; /* what it counted may still be read */
}
