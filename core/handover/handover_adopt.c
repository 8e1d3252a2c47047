/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "admin/json_add.h"
#include "base/clock.h"
#include "base/scoped.h"
#include "handover/handover.h"
#include "handover/handover_numbers.h"
#include "handover/standing.h"
#include "isolate/keeper.h"
#include "protocol.h"
#include "server.h"

/* How long a worker of the image before may take to end by itself. */
#define WORKER_NS (NS_PER_S / 2)

/* ---- Reading ------------------------------------------------------------------------------- */

static bool load(int fd, struct text *bytes, struct rasad_error *error)
{
    struct stat there;
    off_t at = 0;

    if (fstat(fd, &there) != 0 || there.st_size < 0)
        return rasad_fail(error, "there is no handover at descriptor %d: %s", fd, strerror(errno));
    if (!text_reserve(bytes, (size_t)there.st_size + 1))
        return rasad_fail_memory(error);
    while (at < there.st_size) {
        ssize_t n = pread(fd, bytes->at + at, (size_t)(there.st_size - at), at);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return rasad_fail(error, "cannot read the handover: %s", strerror(errno));
        at += n;
    }
    bytes->length = (size_t)at;
    return true;
}

/* Before this nothing of ours is open: a number that is no socket, or that was met already, is no
 * descriptor that the image before could have meant. */
static void claim(int32_t *fd, void *context)
{
    struct stat there;
    int flags = fcntl(*fd, F_GETFD);

    if (flags < 0 || (flags & FD_CLOEXEC) != 0 || fstat(*fd, &there) != 0 ||
        !S_ISSOCK(there.st_mode) || fcntl(*fd, F_SETFD, FD_CLOEXEC) != 0)
        *fd = -1;
}

bool handover_load(int fd, struct handover_received **out, struct rasad_error *error)
{
    struct handover_received *received = calloc(1, sizeof *received);
    SCOPED(close_at) int memory = fd;

    if (received == NULL)
        return rasad_fail_memory(error);
    if (!load(memory, &received->bytes, error) ||
        !handover_read(received->bytes.at, received->bytes.length, &received->handover, error)) {
        text_free(&received->bytes);
        free(received);
        return false;
    }
    *out = received;
    return true;
}

bool handover_take(int fd, struct handover_received **out, struct rasad_error *error)
{
    if (!handover_load(fd, out, error))
        return false;
    handover_each_fd(&(*out)->handover, claim, NULL);
    return true;
}

bool handover_fits(int fd, const struct conf *conf, struct rasad_error *error)
{
    SCOPED(text_free) struct text bytes = {0};
    SCOPED(handover_free) struct handover handover = {.asker = -1};

    if (!load(fd, &bytes, error) || !handover_read(bytes.at, bytes.length, &handover, error))
        return false;
    return (strlen(conf->state_dir) == handover.state_dir.length &&
            memcmp(conf->state_dir, handover.state_dir.at, handover.state_dir.length) == 0) ||
           rasad_fail(error, "%s: state_dir has changed, which needs a restart", conf->path);
}

void handover_reap(struct handover_received *received)
{
    const struct handover *handover = &received->handover;

    for (size_t i = 0; i < handover->worker_count; i++) {
        SCOPED(close_at) int process = pidfd_open(handover->workers[i], 0);

        if (process >= 0)
            (void)keeper_reap(process, clock_steady_ns() + WORKER_NS);
    }
    /* Those whose parents ended before them, where nobody else takes in orphans. */
    while (waitpid(-1, NULL, WNOHANG) > 0)
        continue;
}

/* ---- Sockets ------------------------------------------------------------------------------- */

/* Of a place that didn't come as a whole nobody can make use, and its port is to be free. */
static void drop_place(struct handover_sockets *place)
{
    for (uint8_t i = 0; i < place->count; i++) {
        if (place->fds[i] < 0)
            continue;
        if (!place->is_units)
            (void)shutdown(place->fds[i], SHUT_RDWR); /* somebody may have a dup */
        (void)close(place->fds[i]);
        place->fds[i] = -1;
    }
    place->count = 0;
}

static bool take_place(struct handover_received *received, enum handover_place place,
                       struct sockets *sockets)
{
    static const char prefix[] = "unix:";
    struct handover_sockets *from = &received->handover.places[place];
    bool whole = from->count > 0;

    for (uint8_t i = 0; i < from->count; i++)
        whole &= socket_listens(from->fds[i]);
    if (!whole) {
        drop_place(from);
        return false;
    }
    *sockets = (struct sockets){.address = strndup(from->address.at, from->address.length),
                                .port = from->port,
                                .is_units = from->is_units};
    if (!from->is_units && sockets->address != NULL &&
        strncmp(sockets->address, prefix, sizeof prefix - 1) == 0)
        sockets->unix_path = strdup(sockets->address + sizeof prefix - 1);
    for (uint8_t i = 0; i < from->count; i++)
        sockets->fds[sockets->count++] = take_fd(&from->fds[i]);
    from->count = 0;
    return true;
}

bool handover_sockets(struct handover_received *received, enum handover_place place,
                      const struct conf_listen *now, const struct log *log, struct sockets *sockets,
                      struct sockets *old, struct rasad_error *error)
{
    struct sockets before;
    bool same;

    *old = (struct sockets){.count = 0};
    if (received == NULL || !take_place(received, place, &before))
        return sockets_open(now, NULL, sockets, error);
    same = sockets_serve(&before, now);
    if (!same && sockets_open(now, &before, sockets, error)) {
        *old = before;
        return true;
    }
    if (!same)
        log_error(log, "still listening where it was before the upgrade",
                  log_text("reason", error->text));
    *error = (struct rasad_error){""};
    *sockets = before;
    return true;
}

int handover_admin(struct handover_received *received, const char *path)
{
    struct handover_sockets *from;

    if (received == NULL)
        return -1;
    from = &received->handover.places[HANDOVER_ADMIN];
    if (from->count != 1 || from->address.length != strlen(path) ||
        memcmp(from->address.at, path, from->address.length) != 0)
        return -1;
    from->count = 0;
    return from->fds[0];
}

/* ---- Connections --------------------------------------------------------------------------- */

/* Has the stream of a process that was killed go on where it stands; false if that can't be. */
static bool go_on(struct connection *connection, enum standing_state stood)
{
    switch (stood) {
    case STANDING_FRESH:
        return true;
    case STANDING_RUN:
        connection->shares_lines = true;
        break;
    case STANDING_TORN:
        connection->frame = frame_make_torn(connection->frame.max_message);
        break;
    case STANDING_LINES:
        break;
    case STANDING_NAMED:
        return connection_ask_again(connection);
    default:
        return false;
    }
    connection->messages = 1; /* at least: it is too late for a hello */
    return true;
}

/* A connection of a process that handed nothing over; NULL if it can't go on. */
static struct connection *make_standing(struct handover_connection *from, size_t max_message)
{
    char address[ADDRESS_LENGTH];
    struct connection *connection;

    (void)snprintf(address, sizeof address, "%.*s", (int)from->address.length, from->address.at);
    connection = connection_new(take_fd(&from->fd), address, max_message);
    if (connection == NULL || go_on(connection, from->stood))
        return connection;
    connection_free(connection);
    return NULL;
}

/* A connection as it was, of no agent yet; NULL if there is no memory. */
static struct connection *make_connection(struct handover_connection *from)
{
    char address[ADDRESS_LENGTH];
    struct connection *connection;

    (void)snprintf(address, sizeof address, "%.*s", (int)from->address.length, from->address.at);
    connection = connection_new(take_fd(&from->fd), address, from->frame.max_message);
    if (connection == NULL)
        return NULL;
    connection->frame = from->frame;
    connection->named = from->named;
    (void)snprintf(connection->again, sizeof connection->again, "%.*s", (int)from->again.length,
                   from->again.at);
    connection->ending = from->ending;
    connection->messages = from->messages;
    connection->shares_lines = from->shares_lines;
    if (from->reports)
        connection_make_report(connection);
    connection->report.accepted = from->report_accepted;
    connection->report.refused = from->report_refused;
    text_add(&connection->in, from->in.at, from->in.length);
    text_add(&connection->out, from->out.at, from->out.length);
    if (!connection->in.failed && !connection->out.failed)
        return connection;
    connection_free(connection);
    return NULL;
}

/* What the image before knew of the stream must be what this one knows, else a message would be
 * lost or applied twice. False closes the connection, so that its sender asks. */
static bool adopt_stream(struct server *server, struct shard *shard, struct connection *connection,
                         const struct handover_connection *from)
{
    struct stream *stream = agents_get_stream(&shard->agents, connection->agent, from->stream);

    if (stream == NULL || stream->connection != NULL)
        return false;
    if (server->store == NULL) {
        stream->applied = from->applied;
        stream->chain = from->chain;
    }
    if (stream->applied != from->applied || stream->chain != from->chain)
        return false;
    stream->connection = connection;
    stream->last_used_ns = shard->ingest.steady_ns;
    connection->stream = stream;
    connection->acknowledged = from->acknowledged;
    protocol_acknowledge(connection, &shard->context);
    return true;
}

static bool adopt_agent(struct server *server, struct shard *shard, struct connection *connection,
                        const struct handover_connection *from)
{
    struct agent *agent = agents_get(&shard->agents, from->agent.at, from->agent.length);

    if (agent == NULL)
        return false;
    connection_take_agent(connection, &shard->context, agent);
    if (from->named) {
        atomic_store(&agent->named, true);
        agents_note_address(&shard->agents, agent, connection->address);
    }
    return !from->has_stream || adopt_stream(server, shard, connection, from);
}

/* An agent's connection goes to its shard, which this process chooses anew. */
static bool adopt_connection(struct server *server, struct handover_connection *from)
{
    struct shard_common *common = &server->common;
    const struct handover_bytes *owner = from->agent.length > 0 ? &from->agent : &from->address;
    int index = connection_shard(owner->at, owner->length, common->shard_count);
    struct shard *shard = &server->shards[index];
    struct connection *connection;
    bool had_slot;

    if (from->fd < 0)
        return false;
    connection = from->stood != STANDING_FREE ? make_standing(from, server->conf->max_message)
                                              : make_connection(from);
    if (connection == NULL)
        return false;
    connection->is_stored = from->is_stored;
    if (from->is_stored) /* the others must not take the room that these have */
        connection->slot = standing_claim(common->standing, connection->fd, connection->address,
                                          STANDING_LOST, &had_slot);
    connection->shard = index;
    connection->counts_as_agent = from->begun;
    (void)atomic_fetch_add(&common->agent_count, from->begun ? 1 : 0);
    if (from->agent.length > 0 && !adopt_agent(server, shard, connection, from)) {
        connection_end(connection, &shard->context);
        standing_end(common->standing, connection->slot, connection->fd, connection->is_stored);
        connection_free(connection);
        return false;
    }
    listener_note_name(&server->listener, connection->address);
    (void)atomic_fetch_add(&common->connection_count, 1);
    connection_note_place(connection);
    shard_give(shard, connection);
    return true;
}

static void adopt_connections(struct server *server, struct handover *handover)
{
    size_t closed = 0;

    for (size_t i = 0; i < handover->connection_count; i++)
        closed += !adopt_connection(server, &handover->connections[i]);
    if (closed > 0)
        log_warning(server->log, "connections could not be taken over, their agents will resume",
                    log_number("count", (int64_t)closed));
}

/* ---- Counts -------------------------------------------------------------------------------- */

/* The family's name now, if the conf still has it. */
static struct family *find_family(struct server *server, const struct handover_family *from)
{
    SCOPED(free_at) char *key = strndup(from->key.at, from->key.length);
    enum reject reason;
    struct rasad_error error;

    if (key != NULL && key[0] != '\0') /* a glob's comes with its key */
        (void)families_find_glob(&server->families, key, strlen(key), &reason, &error);
    for (uint32_t id = 0; id < families_count(&server->families); id++) {
        struct family *family = families_at(&server->families, id);

        if (family != NULL && strlen(family->name) == from->name.length &&
            memcmp(family->name, from->name.at, from->name.length) == 0)
            return family;
    }
    return NULL;
}

static void adopt_families(struct server *server, const struct handover *handover)
{
    for (size_t i = 0; i < handover->family_count; i++) {
        const struct handover_family *from = &handover->families[i];
        struct family *family = find_family(server, from);

        if (family == NULL)
            continue;
        counter_add(&family->counters[0].samples, from->samples);
        counter_add(&family->counters[0].overflow_samples, from->overflow_samples);
        counter_add(&family->counters[0].refused, from->refused);
        counter_add(&family->render_errors, from->render_errors);
    }
}

/* After the connections: an agent that has one is there, whatever was known of it. */
static void adopt_agents(struct server *server, const struct handover *handover)
{
    for (size_t i = 0; i < handover->agent_count; i++) {
        const struct handover_agent *from = &handover->agents[i];
        int index = connection_shard(from->name.at, from->name.length, server->common.shard_count);
        struct shard *shard = &server->shards[index];
        struct agent *agent = agents_get(&shard->agents, from->name.at, from->name.length);

        if (agent == NULL)
            continue;
        if (from->named)
            atomic_store(&agent->named, true);
        if (agent->connections == 0)
            atomic_store(&agent->gone_since_ns,
                         from->gone_since_ns != 0 ? from->gone_since_ns : shard->ingest.steady_ns);
        atomic_store(&agent->connected_ns, from->connected_ns);
        atomic_store(&agent->last_seen_ns, from->last_seen_ns);
        counter_add(&agent->messages, from->messages);
        counter_add(&agent->refused, from->refused);
        counter_add(&agent->dropped, from->dropped);
        counter_add(&agent->forks, from->forks);
    }
}

void handover_adopt(struct handover_received *received, struct server *server)
{
    struct handover *handover = &received->handover;

    for (int i = 0; i < server->common.shard_count; i++) {
        server->shards[i].ingest.steady_ns = clock_steady_ns();
        server->shards[i].ingest.wall_ns = clock_wall_ns();
    }
    handover_numbers_adopt(server, handover);
    adopt_families(server, handover);
    adopt_connections(server, handover);
    adopt_agents(server, handover);
}

/* ---- The end ------------------------------------------------------------------------------- */

static void answer(struct handover *handover, int64_t connections, int64_t paused_ns)
{
    SCOPED(text_free) struct text out = {0};

    json_add_open(&out, NULL, '{');
    json_add_bool(&out, "ok", true);
    json_add_open(&out, "data", '{');
    json_add_bytes(&out, "from", handover->version.at, handover->version.length);
    json_add_string(&out, "version", RASAD_VERSION);
    json_add_count(&out, "connections", (uint64_t)connections);
    json_add_number(&out, "paused_seconds", (double)(paused_ns / 1000) / 1e6);
    json_add_close(&out, '}');
    json_add_close(&out, '}');
    text_add_char(&out, '\n');
    if (!out.failed)
        (void)send(handover->asker, out.at, out.length, MSG_DONTWAIT | MSG_NOSIGNAL);
}

void handover_finish(struct handover_received *received, struct server *server)
{
    struct handover *handover = &received->handover;
    int64_t connections = atomic_load(&server->common.connection_count);
    int64_t paused_ns = clock_steady_ns() - handover->begun_ns;

    if (received->was_killed) {
        log_info(server->log, "connections of a process that was killed taken over",
                 log_number("count", connections));
        return;
    }
    if (received->was_kept) {
        log_info(server->log, "connections taken from the service manager",
                 log_number("count", connections), log_number("paused_us", paused_ns / 1000));
        return;
    }
    log_info(server->log, "upgraded",
             log_bytes("from", handover->version.at, handover->version.length),
             log_text("version", RASAD_VERSION), log_number("connections", connections),
             log_number("paused_us", paused_ns / 1000));
    if (handover->asker >= 0)
        answer(handover, connections, paused_ns);
}

static void close_fd(int32_t *fd, void *context)
{
    (void)close(*fd);
    *fd = -1;
}

/* A unix socket that nobody serves any more goes with its file. */
static void close_place(struct handover_received *received, enum handover_place place)
{
    struct sockets sockets;

    if (!take_place(received, place, &sockets))
        return;
    if (place == HANDOVER_ADMIN && sockets.address != NULL)
        (void)unlink(sockets.address);
    if (received->was_kept)
        sockets_leave(&sockets); /* this start has failed; another will serve there */
    sockets_close(&sockets);
}

void handover_close(struct handover_received *received)
{
    if (received == NULL)
        return;
    for (int place = 0; place < HANDOVER_PLACES; place++)
        close_place(received, (enum handover_place)place);
    handover_each_fd(&received->handover, close_fd, NULL);
    handover_free(&received->handover);
    text_free(&received->bytes);
    free(received);
}
