/* SPDX-License-Identifier: Apache-2.0 */
#include "handover/service.h"

#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/scoped.h"
#include "handover/notice.h"
#include "server.h"

/* How the store knows the handover. */
#define MEMORY_NAME "rasad-handover"

/* How long the service manager may take to look at what it was given. */
#define BARRIER_US (5 * UINT64_C(1000000))

/* How long it may take to hear a word. */
#define WAIT_MS 2000

/* A start that goes on says so no more often than this, and asks for so much more time. */
#define PROGRESS_NS NS_PER_S
#define PROGRESS_US 30000000

/* Beats in the time within which the watchdog wants one. */
#define BEATS 3

/* ---- Words --------------------------------------------------------------------------------- */

/* A state, and a line for people. */
static void tell(const char *state, const char *status)
{
    char words[512];

    (void)snprintf(words, sizeof words, "%s\nSTATUS=%s", state, status);
    (void)sd_notify(0, words); /* waits, for these are not to be missed */
}

void service_tell_ready(const char *status)
{
    tell("READY=1", status);
}

void service_tell_reloading(void)
{
    char state[64];

    (void)snprintf(state, sizeof state, "RELOADING=1\nMONOTONIC_USEC=%" PRId64,
                   clock_steady_ns() / 1000);
    tell(state, "reloading");
}

void service_tell_stopping(void)
{
    tell("STOPPING=1", "stopping");
}

void service_tell_progress(int64_t *told_ns)
{
    char words[64];
    int64_t now_ns = clock_steady_ns();

    if (now_ns - *told_ns < PROGRESS_NS)
        return;
    *told_ns = now_ns;
    (void)snprintf(words, sizeof words, "EXTEND_TIMEOUT_USEC=%d\nWATCHDOG=1", PROGRESS_US);
    (void)notice_send(words, -1, 0);
}

int64_t service_beat_ns(void)
{
    uint64_t within_us = 0;

    if (sd_watchdog_enabled(0, &within_us) <= 0 || within_us > INT64_MAX / 1000)
        return 0;
    return (int64_t)within_us * 1000 / BEATS;
}

bool service_beat(void)
{
    return notice_send("WATCHDOG=1", -1, 0);
}

bool service_is_there(void)
{
    return notice_is_heard();
}

/* ---- What is kept -------------------------------------------------------------------------- */

/* Which sockets the handover has. */
struct keeping {
    struct handover_cookie *cookies; /* the handover's */
    size_t count, room;
};

static void count_one(int32_t *fd, void *context)
{
    ((struct keeping *)context)->room++;
}

static void list_one(int32_t *fd, void *context)
{
    struct keeping *keeping = context;
    struct handover_cookie *cookie = &keeping->cookies[keeping->count];

    *cookie = (struct handover_cookie){.fd = *fd, .cookie = standing_cookie(*fd)};
    keeping->count += cookie->cookie != 0;
}

static bool list_all(struct handover *handover)
{
    struct keeping keeping = {.count = 0};

    handover_each_fd(handover, count_one, &keeping);
    keeping.cookies = calloc(keeping.room + 1, sizeof *keeping.cookies);
    handover->cookies = keeping.cookies;
    if (keeping.cookies == NULL)
        return false;
    handover_each_fd(handover, list_one, &keeping);
    handover->cookie_count = keeping.count;
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

static bool keep(struct server *server, struct rasad_error *error)
{
    SCOPED(handover_free) struct handover handover = {.asker = -1};
    SCOPED(close_at) int memory = -1;
    int waited;

    shards_store_connections(server->shards, server->common.shard_count);
    if (!handover_collect(server, &handover, error))
        return false;
    handover.begun_ns = clock_steady_ns();
    forget_counts(&handover);
    if (!list_all(&handover))
        return rasad_fail_memory(error);
    if (!handover_seal(&handover, &memory, error))
        return false;
    /* One of before must not be found beside it. */
    if (!notice_send("FDSTOREREMOVE=1\nFDNAME=" MEMORY_NAME, -1, WAIT_MS) ||
        !notice_send("FDSTORE=1\nFDPOLL=0\nFDNAME=" MEMORY_NAME, memory, WAIT_MS))
        return rasad_fail(error, "the service manager takes no descriptors");
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

    if (keep(server, &error)) {
        standing_leave(server->common.standing);
        return true;
    }
    log_warning(server->log, "connections could not be given to the service manager",
                log_text("reason", error.text));
    return false;
}

/* ---- What comes back ----------------------------------------------------------------------- */

/* A socket of ours among what was passed. */
struct passed_socket {
    uint64_t cookie;
    int fd; /* -1: it was taken */
    const char *name;
};

/* What the service manager has passed to us. */
struct passed {
    int count;
    char **names;
    struct passed_socket *sockets; /* sorted by cookie */
    size_t socket_count;
    int memory;            /* of a handover; -1: there is none */
    int standing;          /* likewise */
    struct sockets *units; /* one for each place */
};

static void take_out_of_store(const char *name)
{
    char words[512];

    (void)snprintf(words, sizeof words, "FDSTOREREMOVE=1\nFDNAME=%s", name);
    (void)notice_send(words, -1, WAIT_MS);
}

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

/* Takes a socket that a unit has opened; false if it is none that we know of. */
static bool take_units(struct passed *passed, const char *name, int fd)
{
    static const char *const names[] = {[HANDOVER_LISTEN] = "ingest", [HANDOVER_HTTP] = "http"};

    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        struct sockets *units = &passed->units[i];

        if (strcmp(name, names[i]) != 0 || units->count == SOCKETS_MOST ||
            sd_is_socket(fd, AF_UNSPEC, SOCK_STREAM, 1) <= 0 || fcntl(fd, F_SETFL, O_NONBLOCK) != 0)
            continue;
        units->fds[units->count++] = fd;
        units->is_units = true;
        return true;
    }
    return false;
}

/* Whether a unit has the socket with this cookie, too. */
static bool is_units(const struct passed *passed, uint64_t cookie)
{
    for (int place = 0; place < HANDOVER_PLACES; place++) {
        for (size_t i = 0; i < passed->units[place].count; i++) {
            if (standing_cookie(passed->units[place].fds[i]) == cookie)
                return true;
        }
    }
    return false;
}

/* A dup of a unit's socket, which a program that didn't know has stored, isn't shut down. */
static void drop_units(struct passed *passed)
{
    for (size_t i = 0; i < passed->socket_count; i++) {
        struct passed_socket *socket = &passed->sockets[i];

        if (!is_units(passed, socket->cookie))
            continue;
        take_out_of_store(socket->name);
        close_at(&socket->fd);
    }
}

/* Sorts out which of them are ours; others are left alone. */
static bool look(struct passed *passed, struct rasad_error *error)
{
    static const char prefix[] = STANDING_SOCKET_NAME;

    passed->sockets = calloc((size_t)passed->count + 1, sizeof *passed->sockets);
    if (passed->sockets == NULL)
        return rasad_fail_memory(error);
    for (int i = 0; i < passed->count; i++) {
        const char *name = passed->names[i];
        int fd = SD_LISTEN_FDS_START + i;

        if (strcmp(name, MEMORY_NAME) == 0 && passed->memory < 0)
            passed->memory = fd;
        else if (strcmp(name, STANDING_MEMORY_NAME) == 0 && passed->standing < 0)
            passed->standing = fd;
        else if (strncmp(name, prefix, sizeof prefix - 1) == 0)
            passed->sockets[passed->socket_count++] =
                (struct passed_socket){standing_cookie(fd), fd, name};
        else
            (void)take_units(passed, name, fd);
    }
    drop_units(passed);
    qsort(passed->sockets, passed->socket_count, sizeof *passed->sockets, by_cookie);
    return true;
}

/* The descriptor of the socket with this cookie, once; -1: it was not passed. */
static int take_socket(struct passed *passed, uint64_t cookie)
{
    struct passed_socket wanted = {.cookie = cookie}, *found;

    found = bsearch(&wanted, passed->sockets, passed->socket_count, sizeof wanted, by_cookie);
    return found != NULL && cookie != 0 ? take_fd(&found->fd) : -1;
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
    bool known = renumbering->next < handover->cookie_count &&
                 handover->cookies[renumbering->next].fd == *fd;

    *fd = known ? take_socket(renumbering->passed, handover->cookies[renumbering->next++].cookie)
                : -1;
}

/* Sockets of ours that nobody speaks of: what is there twice would stay open when we close it. */
static void close_rest(const struct passed *passed)
{
    for (size_t i = 0; i < passed->socket_count; i++) {
        const struct passed_socket *socket = &passed->sockets[i];

        if (socket->fd < 0)
            continue;
        (void)shutdown(socket->fd, SHUT_RDWR);
        (void)close(socket->fd);
        take_out_of_store(socket->name);
    }
}

void service_give_up(void)
{
    DIR *folder = opendir("/proc/self/fd");
    const struct dirent *entry;

    while (folder != NULL && (entry = readdir(folder)) != NULL) {
        int fd = atoi(entry->d_name);
        uint64_t cookie = fd > STDERR_FILENO ? standing_cookie(fd) : 0;
        char name[STANDING_NAME_LENGTH];

        if (cookie == 0)
            continue;
        if (!socket_listens(fd)) /* it may be a socket unit's */
            (void)shutdown(fd, SHUT_RDWR);
        standing_name(cookie, name);
        take_out_of_store(name);
    }
    if (folder != NULL)
        (void)closedir(folder);
    (void)sd_notify_barrier(0, BARRIER_US); /* then places are free for new sockets */
}

static void forget_fd(int32_t *fd, void *context)
{
    *fd = -1;
}

/* What a process handed over before it ended; NULL if it is of no use, and the error says why if it
 * was to be. */
static struct handover_received *take_handover(struct passed *passed, struct standing *standing,
                                               struct rasad_error *error)
{
    struct handover_received *received = NULL;
    struct renumbering renumbering = {.passed = passed};

    if (!handover_load(take_fd(&passed->memory), &received, error))
        return NULL;
    received->was_kept = true;
    if (!standing_take_handover(standing, received->handover.begun_ns)) {
        handover_each_fd(&received->handover, forget_fd, NULL);
        handover_close(received);
        return NULL;
    }
    renumbering.handover = &received->handover;
    handover_each_fd(&received->handover, renumber, &renumbering);
    return received;
}

static void list_place(struct passed *passed, const struct standing *standing,
                       enum handover_place place, struct handover *handover)
{
    struct handover_sockets *to = &handover->places[place];
    uint64_t cookies[SOCKETS_MOST];

    if (!standing_was_place(standing, place, to, cookies))
        return;
    for (uint8_t i = 0; i < to->count; i++)
        to->fds[i] = take_socket(passed, cookies[i]);
}

/* What a process that was killed has left. All of it is lent by its memory. */
static struct handover_received *take_standing(struct passed *passed, struct standing *standing)
{
    struct handover_received *received = calloc(1, sizeof *received);
    struct handover *handover;

    if (received == NULL)
        return NULL;
    handover = &received->handover;
    *received = (struct handover_received){.was_kept = true, .was_killed = true};
    handover->asker = -1;
    handover->connections = calloc(passed->socket_count + 1, sizeof *handover->connections);
    list_place(passed, standing, HANDOVER_LISTEN, handover);
    list_place(passed, standing, HANDOVER_HTTP, handover);
    for (size_t i = 0; i < passed->socket_count && handover->connections != NULL; i++) {
        struct passed_socket *socket = &passed->sockets[i];
        const struct standing_slot *slot = standing_find(standing, socket->cookie);

        if (socket->fd < 0 || slot == NULL || standing_state(slot) < STANDING_FRESH)
            continue;
        handover->connections[handover->connection_count++] =
            (struct handover_connection){.fd = take_fd(&socket->fd),
                                         .address = {slot->address, strlen(slot->address)},
                                         .is_stored = true,
                                         .stood = (uint8_t)standing_state(slot)};
    }
    return received;
}

struct handover_received *service_take(struct standing **standing,
                                       struct sockets units[HANDOVER_PLACES],
                                       struct rasad_error *error)
{
    SCOPED(passed_free) struct passed passed = {.memory = -1, .standing = -1, .units = units};
    struct handover_received *received = NULL;
    struct rasad_error damage = {""};

    passed.count = sd_listen_fds_with_names(1, &passed.names);
    if (passed.count <= 0) {
        passed.count = 0;
        return NULL;
    }
    if (!look(&passed, error))
        return NULL;
    if (passed.standing >= 0)
        (void)standing_open(take_fd(&passed.standing), standing, &damage);
    if (passed.memory >= 0) {
        (void)notice_send("FDSTOREREMOVE=1\nFDNAME=" MEMORY_NAME, -1, WAIT_MS);
        received = take_handover(&passed, *standing, error);
    }
    if (received == NULL && damage.text[0] != '\0')
        (void)rasad_fail(error, "where they stood can't be read: %s", damage.text);
    if (received == NULL && *standing != NULL)
        received = take_standing(&passed, *standing);
    close_rest(&passed);
    return received;
}
