/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/memory_file.h"
#include "base/scoped.h"
#include "handover/handover.h"
#include "handover/handover_numbers.h"
#include "isolate/isolate.h"
#include "server.h"

static struct handover_bytes bytes_of(const char *string)
{
    return (struct handover_bytes){string, strlen(string)};
}

/* A place for one more member of a list, whose memory is doubled as it must be; NULL without. */
static void *add(void *lists, size_t *count, size_t size)
{
    char **list = lists;
    char *grown = *list;

    if ((*count & (*count - 1)) == 0) /* it is full: 0, 1, 2, 4, 8, … */
        grown = reallocarray(*list, *count > 0 ? 2 * *count : 1, size);
    if (grown == NULL)
        return NULL;
    *list = grown;
    return memset(grown + size * (*count)++, 0, size);
}

static bool add_connection(struct handover *handover, const struct connection *connection)
{
    struct handover_connection *to =
        add(&handover->connections, &handover->connection_count, sizeof *to);
    const struct agent *agent = connection->agent;
    const struct stream *stream = connection->stream;

    if (to == NULL)
        return false;
    *to = (struct handover_connection){
        .fd = connection->fd,
        .address = bytes_of(connection->address),
        .begun = connection->counts_as_agent || connection->agent != NULL,
        .named = connection->named,
        .ending = connection->ending,
        .shares_lines = connection->shares_lines,
        .is_stored = connection->is_stored,
        .reports = connection->reports,
        .has_stream = stream != NULL,
        .messages = connection->messages,
        .report_accepted = connection->report.accepted,
        .report_refused = connection->report.refused,
        .frame = connection->frame,
        .in = {connection->in.at, connection->in.length},
        .out = {connection->out.at, connection->out.length},
        .again = bytes_of(connection->again),
    };
    if (agent != NULL)
        to->agent = (struct handover_bytes){agent->name, agent->length};
    if (stream == NULL)
        return true;
    memcpy(to->stream, stream->id, sizeof to->stream);
    to->applied = stream->applied;
    to->chain = stream->chain;
    to->acknowledged = connection->acknowledged;
    return true;
}

/* Those of a shard, and those on their way to it. */
static bool add_connections(struct handover *handover, struct shard *shard)
{
    bool fine = true;

    for (const struct connection *at = shard->connections; at != NULL; at = at->next)
        fine &= add_connection(handover, at);
    (void)pthread_mutex_lock(&shard->mail_lock);
    for (const struct connection *at = shard->first_mail; at != NULL; at = at->next)
        fine &= add_connection(handover, at);
    (void)pthread_mutex_unlock(&shard->mail_lock);
    return fine;
}

/* What a walk over agents fills. */
struct agent_list {
    struct handover *handover;
    bool fine;
};

static void add_agent(const struct agent *agent, void *context)
{
    struct agent_list *list = context;
    struct handover *handover = list->handover;
    struct handover_agent *to = add(&handover->agents, &handover->agent_count, sizeof *to);

    list->fine &= to != NULL;
    if (to == NULL)
        return;
    *to = (struct handover_agent){
        .name = {agent->name, agent->length},
        .named = atomic_load(&agent->named),
        .gone_since_ns = atomic_load(&agent->gone_since_ns),
        .last_seen_ns = atomic_load(&agent->last_seen_ns),
        .connected_ns = atomic_load(&agent->connected_ns),
        .messages = counter_read(&agent->messages),
        .refused = counter_read(&agent->refused),
        .dropped = counter_read(&agent->dropped),
        .forks = counter_read(&agent->forks),
    };
}

static bool add_shards(struct handover *handover, struct server *server)
{
    struct agent_list list = {handover, true};

    for (int i = 0; i < server->common.shard_count; i++) {
        list.fine &= add_connections(handover, &server->shards[i]);
        agents_each(&server->shards[i].agents, add_agent, &list);
    }
    return list.fine;
}

static bool add_families(struct handover *handover, const struct server *server)
{
    for (uint32_t id = 0; id < families_count(&server->families); id++) {
        const struct family *family = families_at(&server->families, id);
        struct handover_family *to;

        if (family == NULL)
            continue;
        to = add(&handover->families, &handover->family_count, sizeof *to);
        if (to == NULL)
            return false;
        to->name = bytes_of(family->name);
        to->key = bytes_of(family->key != NULL ? family->key : "");
        to->render_errors = counter_read(&family->render_errors);
        for (int i = 0; i < server->common.shard_count; i++) {
            to->samples += counter_read(&family->counters[i].samples);
            to->overflow_samples += counter_read(&family->counters[i].overflow_samples);
            to->refused += counter_read(&family->counters[i].refused);
        }
    }
    return true;
}

/* Each is a child of this process, and will be one of the next image. */
static bool add_workers(struct handover *handover, const struct conf *conf)
{
    for (size_t i = 0; i < conf->metric_count; i++) {
        const struct isolate *isolate = conf->metrics[i].aggregate.isolate;
        pid_t pid = isolate != NULL ? isolate_process(isolate) : -1;
        int32_t *to;

        if (pid <= 1)
            continue;
        to = add(&handover->workers, &handover->worker_count, sizeof *to);
        if (to == NULL)
            return false;
        *to = (int32_t)pid;
    }
    return true;
}

static void add_sockets(struct handover *handover, enum handover_place place,
                        const struct sockets *sockets)
{
    struct handover_sockets *to = &handover->places[place];

    to->address = bytes_of(sockets->address != NULL ? sockets->address : "");
    to->port = sockets->port;
    to->is_units = sockets->is_units;
    to->count = (uint8_t)sockets->count;
    for (size_t i = 0; i < sockets->count; i++)
        to->fds[i] = sockets->fds[i];
}

static void add_places(struct handover *handover, struct server *server)
{
    struct handover_sockets *admin = &handover->places[HANDOVER_ADMIN];

    add_sockets(handover, HANDOVER_LISTEN, listener_lock(&server->listener));
    listener_unlock(&server->listener);
    add_sockets(handover, HANDOVER_HTTP, http_sockets(server->http));
    if (server->admin == NULL)
        return;
    admin->address = bytes_of(server->conf->admin_socket);
    admin->count = 1;
    admin->fds[0] = admin_fd(server->admin);
}

bool handover_collect(struct server *server, struct handover *handover, struct rasad_error *error)
{
    *handover = (struct handover){.version = bytes_of(RASAD_VERSION),
                                  .state_dir = bytes_of(server->conf->state_dir),
                                  .asker = -1};
    add_places(handover, server);
    if (handover_numbers_collect(server, handover) && add_families(handover, server) &&
        add_shards(handover, server) && add_workers(handover, server->conf))
        return true;
    handover_free(handover);
    return rasad_fail_memory(error);
}

/* All of it, however often it takes. */
static bool write_all(int fd, const char *bytes, size_t length, struct rasad_error *error)
{
    while (length > 0) {
        ssize_t n = write(fd, bytes, length);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return rasad_fail(error, "cannot write the handover: %s", strerror(errno));
        bytes += n;
        length -= (size_t)n;
    }
    return true;
}

bool handover_seal(const struct handover *handover, int *fd, struct rasad_error *error)
{
    static const int seals = F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE;
    SCOPED(text_free) struct text bytes = {0};
    SCOPED(close_at) int memory = memory_file("rasad-handover");

    handover_write(handover, &bytes);
    if (bytes.failed)
        return rasad_fail_memory(error);
    if (memory < 0)
        return rasad_fail(error, "cannot make memory for the handover: %s", strerror(errno));
    if (!write_all(memory, bytes.at, bytes.length, error))
        return false;
    if (fcntl(memory, F_ADD_SEALS, seals) != 0)
        return rasad_fail(error, "cannot seal the handover: %s", strerror(errno));
    *fd = take_fd(&memory);
    return true;
}
