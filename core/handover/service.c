/* SPDX-License-Identifier: Apache-2.0 */
#include "handover/service.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/scoped.h"
#include "server.h"

/* How the store knows them. */
#define MEMORY_NAME "rasad-handover"
#define SOCKET_NAME "rasad-socket"

/* Descriptors of one message, which is what the kernel lets pass. */
#define MOST_AT_ONCE 253

/* How long the service manager may take to look at what it was given. */
#define BARRIER_US (5 * UINT64_C(1000000))

void service_tell_ready(void)
{
    (void)sd_notify(0, "READY=1");
}

void service_tell_stopping(void)
{
    (void)sd_notify(0, "STOPPING=1");
}

bool service_is_there(void)
{
    const char *path = getenv("NOTIFY_SOCKET");

    return path != NULL && path[0] != '\0';
}

static bool read_cookie(int fd, uint64_t *cookie)
{
    socklen_t size = sizeof *cookie;

    return getsockopt(fd, SOL_SOCKET, SO_COOKIE, cookie, &size) == 0 && size == sizeof *cookie;
}

/* ---- What is kept -------------------------------------------------------------------------- */

/* The sockets of a handover, as it goes into the store. */
struct keeping {
    struct handover_cookie *cookies;
    size_t count, room;
    int *fds;
};

static void count_one(int32_t *fd, void *context)
{
    ((struct keeping *)context)->room++;
}

static void list_one(int32_t *fd, void *context)
{
    struct keeping *keeping = context;
    struct handover_cookie *cookie = &keeping->cookies[keeping->count];

    cookie->fd = *fd;
    if (read_cookie(*fd, &cookie->cookie))
        keeping->fds[keeping->count++] = *fd;
}

static void keeping_free(struct keeping *keeping)
{
    free(keeping->fds); /* the cookies are the handover's */
}

static bool list_all(struct keeping *keeping, struct handover *handover)
{
    handover_each_fd(handover, count_one, keeping);
    keeping->cookies = calloc(keeping->room + 1, sizeof *keeping->cookies);
    keeping->fds = calloc(keeping->room + 1, sizeof *keeping->fds);
    handover->cookies = keeping->cookies;
    if (keeping->cookies == NULL || keeping->fds == NULL)
        return false;
    handover_each_fd(handover, list_one, keeping);
    handover->cookie_count = keeping->count;
    return true;
}

/* What is counted since a process's start begins anew with it, and so do workers; the numbers in
 * names of senders don't. */
static void forget_counts(struct handover *handover)
{
    size_t kept = 0;

    handover->family_count = 0;
    handover->worker_count = 0;
    for (size_t i = 0; i < handover->number_count; i++) {
        if (strcmp(handover->numbers[i].name, "unix peers") == 0)
            handover->numbers[kept++] = handover->numbers[i];
    }
    handover->number_count = kept;
    for (size_t i = 0; i < handover->agent_count; i++) {
        struct handover_agent *agent = &handover->agents[i];

        agent->messages = agent->refused = agent->dropped = agent->forks = 0;
    }
}

/* Gives these to the store. They may break there without being thrown out, for what was sent before
 * that is still to be read. */
static bool give(const int *fds, size_t count, const char *name, struct rasad_error *error)
{
    char text[128];

    (void)snprintf(text, sizeof text, "FDSTORE=1\nFDNAME=%s\nFDPOLL=0", name);
    while (count > 0) {
        unsigned some = count < MOST_AT_ONCE ? (unsigned)count : MOST_AT_ONCE;
        int sent = sd_pid_notify_with_fds(0, 0, text, fds, some);

        if (sent <= 0)
            return rasad_fail(error, "the service manager takes no descriptors: %s",
                              strerror(sent < 0 ? -sent : ENOTCONN));
        fds += some;
        count -= some;
    }
    return true;
}

static bool keep(struct server *server, struct rasad_error *error)
{
    SCOPED(handover_free) struct handover handover = {.asker = -1};
    SCOPED(keeping_free) struct keeping keeping = {.count = 0};
    SCOPED(close_at) int memory = -1;
    int waited;

    if (!handover_collect(server, &handover, error))
        return false;
    handover.begun_ns = clock_steady_ns();
    forget_counts(&handover);
    if (!list_all(&keeping, &handover))
        return rasad_fail_memory(error);
    if (!handover_seal(&handover, &memory, error) || !give(&memory, 1, MEMORY_NAME, error) ||
        !give(keeping.fds, keeping.count, SOCKET_NAME, error))
        return false;
    waited = sd_notify_barrier(0, BARRIER_US);
    if (waited < 0)
        return rasad_fail(error, "the service manager does not answer: %s", strerror(-waited));
    log_info(server->log, "connections given to the service manager",
             log_number("count", (int64_t)handover.connection_count));
    return true;
}

bool service_keep(struct server *server)
{
    struct rasad_error error = {""};

    if (keep(server, &error))
        return true;
    log_warning(server->log, "connections could not be given to the service manager",
                log_text("reason", error.text));
    return false;
}

/* ---- What comes back ----------------------------------------------------------------------- */

/* A socket of ours among what was passed. */
struct passed_socket {
    uint64_t cookie;
    int fd; /* -1: it was taken */
};

/* What the service manager has passed to us. */
struct passed {
    int count;
    char **names;
    struct passed_socket *sockets; /* sorted by cookie */
    size_t socket_count;
    int memory; /* -1: there is none */
};

static void passed_free(struct passed *passed)
{
    for (int i = 0; i < passed->count && passed->names != NULL; i++)
        free(passed->names[i]);
    free(passed->names);
    free(passed->sockets);
}

static int by_cookie(const void *a, const void *b)
{
    uint64_t first = ((const struct passed_socket *)a)->cookie;
    uint64_t second = ((const struct passed_socket *)b)->cookie;

    return (first > second) - (first < second);
}

/* Sorts out which of them are ours; others are left alone. */
static bool look(struct passed *passed, struct rasad_error *error)
{
    passed->sockets = calloc((size_t)passed->count + 1, sizeof *passed->sockets);
    if (passed->sockets == NULL)
        return rasad_fail_memory(error);
    for (int i = 0; i < passed->count; i++) {
        struct passed_socket *socket = &passed->sockets[passed->socket_count];

        socket->fd = SD_LISTEN_FDS_START + i;
        if (strcmp(passed->names[i], MEMORY_NAME) == 0 && passed->memory < 0)
            passed->memory = socket->fd;
        else if (strcmp(passed->names[i], SOCKET_NAME) == 0 &&
                 read_cookie(socket->fd, &socket->cookie))
            passed->socket_count++;
    }
    qsort(passed->sockets, passed->socket_count, sizeof *passed->sockets, by_cookie);
    return true;
}

struct renumbering {
    struct passed *passed;
    const struct handover *handover;
    size_t next; /* of its cookies, which come in the order of the descriptors */
};

static void renumber(int32_t *fd, void *context)
{
    struct renumbering *renumbering = context;
    const struct handover *handover = renumbering->handover;
    struct passed *passed = renumbering->passed;
    struct passed_socket wanted = {.fd = -1}, *found;
    bool known = renumbering->next < handover->cookie_count &&
                 handover->cookies[renumbering->next].fd == *fd;

    *fd = -1;
    if (!known)
        return;
    wanted.cookie = handover->cookies[renumbering->next++].cookie;
    found = bsearch(&wanted, passed->sockets, passed->socket_count, sizeof wanted, by_cookie);
    if (found != NULL)
        *fd = take_fd(&found->fd); /* each once */
}

/* Sockets of ours that the handover doesn't speak of. */
static void close_rest(const struct passed *passed)
{
    for (size_t i = 0; i < passed->socket_count; i++)
        close_at(&passed->sockets[i].fd);
}

struct handover_received *service_take(struct rasad_error *error)
{
    SCOPED(passed_free) struct passed passed = {.memory = -1};
    struct handover_received *received = NULL;

    passed.count = sd_listen_fds_with_names(1, &passed.names);
    if (passed.count <= 0) {
        passed.count = 0;
        return NULL;
    }
    if (!look(&passed, error))
        return NULL;
    /* What is there twice would stay open when we close it. */
    (void)sd_notify(0, "FDSTOREREMOVE=1\nFDNAME=" MEMORY_NAME);
    (void)sd_notify(0, "FDSTOREREMOVE=1\nFDNAME=" SOCKET_NAME);
    if (passed.memory >= 0 && handover_load(passed.memory, &received, error)) {
        struct renumbering renumbering = {&passed, &received->handover, 0};

        received->was_kept = true;
        handover_each_fd(&received->handover, renumber, &renumbering);
    }
    close_rest(&passed);
    return received;
}
