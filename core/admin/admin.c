/* SPDX-License-Identifier: Apache-2.0 */
#include "admin/admin.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "admin/admin_client.h"
#include "base/address.h"
#include "base/scoped.h"
#include "server.h"

/* How long those who wait are left alone when they can't be taken in. */
#define REST_MS 100

/* A place for a client: it is empty, or has a thread that runs, or one that is to be joined. The
 * accepting thread fills and empties it; the client's own only ends it. */
enum place_state { PLACE_EMPTY, PLACE_BUSY, PLACE_ENDED };

struct place {
    _Atomic int state; /* PLACE_… */
    pthread_t thread;
    struct admin_client client;
};

struct admin {
    struct server *server;
    char *path; /* of the socket */
    int fd;
    int stop; /* eventfd: readable from the moment on when all must end */
    struct place places[ADMIN_MOST_CLIENTS];
    pthread_t thread; /* accepts */
    bool running;
};

static void admin_close_at(struct admin **admin)
{
    admin_close(*admin);
}

static void *serve(void *argument)
{
    struct place *place = argument;

    admin_client_serve(&place->client);
    atomic_store(&place->state, PLACE_ENDED);
    return NULL;
}

/* A free place, that of a client who left included; NULL if there is none. */
static struct place *find_place(struct admin *admin)
{
    for (size_t i = 0; i < ADMIN_MOST_CLIENTS; i++) {
        struct place *place = &admin->places[i];
        int state = atomic_load(&place->state);

        if (state == PLACE_BUSY)
            continue;
        if (state == PLACE_ENDED)
            (void)pthread_join(place->thread, NULL);
        atomic_store(&place->state, PLACE_EMPTY);
        return place;
    }
    return NULL;
}

/* Tells one who can't be served, if his socket takes it, and closes. */
static void turn_away(struct admin_client *client, const char *why)
{
    admin_client_refuse(client, EXIT_FAILURE, "error", why);
    (void)send(client->fd, client->out.at, client->out.length, MSG_DONTWAIT | MSG_NOSIGNAL);
    text_free(&client->out);
    (void)close(client->fd);
}

static void take_in(struct admin *admin, int fd)
{
    struct admin_client client = {.server = admin->server, .fd = fd, .stop = admin->stop};
    struct place *place = find_place(admin);
    struct ucred peer = {0};
    socklen_t size = sizeof peer;

    if (place == NULL) {
        turn_away(&client, "too many clients at the admin socket (end a rasadctl tail or top)");
        return;
    }
    (void)getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size);
    client.pid = peer.pid;
    client.uid = peer.uid;
    place->client = client;
    atomic_store(&place->state, PLACE_BUSY);
    if (pthread_create(&place->thread, NULL, serve, place) == 0)
        return;
    atomic_store(&place->state, PLACE_EMPTY);
    turn_away(&client, "the server can start no further thread");
}

/* Takes in who waits; false if that can't be for now. */
static bool accept_one(struct admin *admin)
{
    int fd = accept4(admin->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

    if (fd >= 0)
        take_in(admin, fd);
    return fd >= 0 || errno == EAGAIN || errno == EINTR || errno == ECONNABORTED;
}

static void *run(void *argument)
{
    struct admin *admin = argument;
    bool resting = false;

    for (;;) {
        struct pollfd polled[] = {
            {.fd = admin->stop, .events = POLLIN},
            {.fd = resting ? -1 : admin->fd, .events = POLLIN},
        };
        int ready = poll(polled, 2, resting ? REST_MS : -1);

        if (ready > 0 && polled[0].revents != 0)
            return NULL;
        resting = ready > 0 && !accept_one(admin);
    }
}

/* Whether the folder that the socket is to lie in is there. */
static bool has_folder(const char *path)
{
    const char *slash = strrchr(path, '/');
    SCOPED(free_at) char *folder = NULL;
    struct stat there;

    if (slash == NULL || slash == path)
        return true;
    folder = strndup(path, (size_t)(slash - path));
    return folder == NULL || stat(folder, &there) == 0 || errno != ENOENT;
}

/* Nobody but owner and group may ever open it, so it is born that way. */
static bool listen_at(struct admin *admin, const char *path, struct rasad_error *error)
{
    mode_t before = umask(S_IXUSR | S_IXGRP | S_IRWXO);
    bool fine = address_listen_unix(path, &admin->fd, error);

    (void)umask(before);
    return fine || rasad_fail_at(error, "admin_socket");
}

bool admin_start(struct admin *admin, struct rasad_error *error)
{
    int why;

    if (admin == NULL)
        return true;
    admin->stop = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (admin->stop < 0)
        return rasad_fail(error, "cannot make an eventfd: %s", strerror(errno));
    why = pthread_create(&admin->thread, NULL, run, admin);
    admin->running = why == 0;
    return admin->running || rasad_fail(error, "cannot start a thread: %s", strerror(why));
}

bool admin_open(struct server *server, struct admin **out, struct rasad_error *error)
{
    const char *path = server->conf->admin_socket;
    SCOPED(admin_close_at) struct admin *admin = NULL;
    SCOPED(close_at) int adopted = -1;

    *out = NULL;
    if (path[0] == '\0')
        return true;
    adopted = handover_admin(server->received, path);
    if (adopted < 0 && !has_folder(path)) {
        log_warning(server->log, "no admin socket: its folder is not there",
                    log_text("admin_socket", path));
        return true;
    }
    admin = calloc(1, sizeof *admin);
    if (admin == NULL)
        return rasad_fail_memory(error);
    admin->server = server;
    admin->fd = -1;
    admin->stop = -1;
    admin->path = strdup(path);
    if (admin->path == NULL)
        return rasad_fail_memory(error);
    admin->fd = take_fd(&adopted);
    if (admin->fd < 0 && !listen_at(admin, path, error))
        return false;
    *out = TAKE(admin);
    return true;
}

int admin_fd(const struct admin *admin)
{
    return admin->fd;
}

void admin_close(struct admin *admin)
{
    if (admin == NULL)
        return;
    if (admin->stop >= 0)
        (void)eventfd_write(admin->stop, 1);
    if (admin->running)
        (void)pthread_join(admin->thread, NULL);
    for (size_t i = 0; i < ADMIN_MOST_CLIENTS; i++) {
        if (atomic_load(&admin->places[i].state) != PLACE_EMPTY)
            (void)pthread_join(admin->places[i].thread, NULL);
    }
    if (admin->fd >= 0)
        (void)unlink(admin->path);
    close_at(&admin->fd);
    close_at(&admin->stop);
    free(admin->path);
    free(admin);
}
