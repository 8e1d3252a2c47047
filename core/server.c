/* SPDX-License-Identifier: Apache-2.0 */
#include "server.h"

#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/scoped.h"
#include "crash.h"
#include "exporter/process.h"
#include "handover/durable.h"
#include "handover/service.h"
#include "handover/standing.h"
#include "isolate/isolate.h"

/* More descriptors than this are of no use to us. */
#define MOST_DESCRIPTORS (1 << 20)

/* How long those who wait are left alone when they can't be taken in. */
#define REST_MS 100

/* Descriptors kept free for short-lived needs, such as reading /proc. */
#define SLACK_DESCRIPTORS 8

/* As many descriptors as we may have. */
static rlim_t raise_limit(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return 1024;
    limit.rlim_cur = limit.rlim_max < MOST_DESCRIPTORS ? limit.rlim_max : MOST_DESCRIPTORS;
    (void)setrlimit(RLIMIT_NOFILE, &limit);
    (void)getrlimit(RLIMIT_NOFILE, &limit);
    return limit.rlim_cur;
}

/* How many descriptors are open, connections not counted. At the start the lowest free number
 * tells, for we leave no holes of note; an image before us may have. */
static int64_t count_descriptors(const struct server *server)
{
    SCOPED(close_at) int probe = dup(STDERR_FILENO);
    int64_t adopted = atomic_load(&server->common.connection_count);
    int64_t open = adopted > 0 ? process_open_descriptors() - adopted : 0;

    return open > 0 ? open : probe < 0 ? 0 : probe;
}

/* Signals come as reads, so no thread is ever interrupted by one. */
static bool take_signals(struct server *server, struct rasad_error *error)
{
    sigset_t wanted;

    (void)sigemptyset(&wanted);
    (void)sigaddset(&wanted, SIGINT);
    (void)sigaddset(&wanted, SIGTERM);
    (void)sigaddset(&wanted, SIGHUP);
    (void)sigaddset(&wanted, SIGUSR2);
    (void)pthread_sigmask(SIG_BLOCK, &wanted, NULL);
    (void)signal(SIGPIPE, SIG_IGN);
    (void)signal(SIGCHLD, SIG_DFL); /* who ignores it is not told how children end */
    (void)signal(SIGXFSZ, SIG_IGN); /* a file that may not grow is an error of the write */
    server->signals = signalfd(-1, &wanted, SFD_CLOEXEC | SFD_NONBLOCK);
    return server->signals >= 0 || rasad_fail(error, "cannot take signals: %s", strerror(errno));
}

static int thread_count(const struct conf *conf)
{
    cpu_set_t cores;

    if (conf->threads > 0)
        return conf->threads;
    return sched_getaffinity(0, sizeof cores, &cores) == 0 ? CPU_COUNT(&cores) : 1;
}

static bool open_shards(struct server *server, struct rasad_error *error)
{
    server->shards = calloc((size_t)server->common.shard_count, sizeof *server->shards);
    if (server->shards == NULL)
        return rasad_fail_memory(error);
    server->common.shards = server->shards;
    for (int i = 0; i < server->common.shard_count; i++) {
        server->shards_open++;
        if (!shard_open(&server->shards[i], &server->common, i, error))
            return false;
    }
    return true;
}

static void tell_progress(void *context)
{
    service_tell_progress(&((struct server *)context)->progress_ns);
}

/* What the disk has of an earlier server. */
static bool open_store(struct server *server, struct rasad_error *error)
{
    /* An image that has just left its place to this one had it open. */
    bool is_trusted = server->received != NULL && !server->received->was_kept;

    if (server->conf->state_dir[0] == '\0')
        return true;
    if (!store_open(server->conf->state_dir, is_trusted,
                    (struct store_progress){tell_progress, server}, server->log, clock_steady_ns(),
                    &server->store, error))
        return false;
    server->common.series_ids = store_ids(server->store);
    server->common.note = publisher_note;
    return true;
}

struct loading server_loading(struct server *server)
{
    return (struct loading){
        .store = server->store,
        .conf = server->conf,
        .families = &server->families,
        .shards = server->shards,
        .shard_count = server->common.shard_count,
        .view = &server->view,
        .log = server->log,
        .steady_ns = clock_steady_ns(),
        .progress = {tell_progress, server},
    };
}

static bool load_state(struct server *server, struct rasad_error *error)
{
    const struct loading loading = server_loading(server);
    struct loaded loaded;

    if (server->store == NULL)
        return true;
    if (!loading_run(&loading, &loaded, error))
        return rasad_fail_at(error, "%s", server->conf->state_dir);
    log_info(server->log, "state loaded", log_text("state_dir", server->conf->state_dir),
             log_number("series", (int64_t)loaded.series),
             log_number("streams", (int64_t)loaded.streams),
             log_number("aside", (int64_t)loaded.aside),
             log_number("took_ms", (clock_steady_ns() - loading.steady_ns) / NS_PER_MS));
    return true;
}

static bool start_threads(struct server *server, struct rasad_error *error)
{
    for (int i = 0; i < server->common.shard_count; i++) {
        if (!shard_start(&server->shards[i], error))
            return false;
    }
    return publisher_start(&server->publisher, error);
}

/* Tells the next process, if this one is killed, what is listened at there. What is told of no more
 * leaves the service manager's store. */
static void note_place(struct server *server, enum handover_place place,
                       const struct sockets *sockets)
{
    const char *address = sockets->address != NULL ? sockets->address : "";
    struct handover_sockets now = {.address = {address, strlen(address)},
                                   .port = sockets->port,
                                   .count = sockets->is_units ? 0 : (uint8_t)sockets->count};

    if (server->common.standing == NULL)
        return;
    for (size_t i = 0; i < now.count; i++)
        now.fds[i] = sockets->fds[i];
    standing_place(server->common.standing, place, &now);
}

/* What a place is served with: the sockets of a unit, or those of before, or new ones. */
static bool find_sockets(struct server *server, enum handover_place place,
                         const struct conf_listen *now, struct sockets *sockets,
                         struct sockets *old, struct rasad_error *error)
{
    if (server->units[place].count == 0)
        return handover_sockets(server->received, place, now, server->log, sockets, old, error);
    *old = (struct sockets){.count = 0};
    *sockets = sockets_take(&server->units[place]);
    return true;
}

static bool open_listener(struct server *server, struct rasad_error *error)
{
    const struct conf_listen *now = &server->conf->listen;
    struct sockets sockets, old;

    if (!find_sockets(server, HANDOVER_LISTEN, now, &sockets, &old, error))
        return false;
    if (old.count == 0)
        return listener_open(&server->listener, &server->common, &sockets, error);
    note_place(server, HANDOVER_LISTEN, &old);
    /* Who waits at the old ones is taken in first. */
    if (!listener_open(&server->listener, &server->common, &old, error)) {
        sockets_close(&sockets);
        return false;
    }
    listener_change(&server->listener, &sockets, server->conf->max_message);
    return true;
}

/* Descriptors that isolated metrics may take: memory and a process for each shard and for readers.
 */
static int64_t isolated_descriptors(const struct server *server)
{
    int64_t count = 0;

    for (size_t i = 0; i < server->conf->metric_count; i++) {
        if (server->conf->metrics[i].aggregate.isolate != NULL)
            count += 2 * (server->common.shard_count + 1);
    }
    return count;
}

static void make_source(struct server *server)
{
    server->source = (struct scrape_source){
        .conf = server->conf,
        .families = &server->families,
        .view = &server->view,
        .publisher = &server->publisher,
        .shards = server->shards,
        .common = &server->common,
        .refused_connections = &server->listener.refused,
        .reloads = &server->reloads,
        .start_ns = clock_wall_ns(),
    };
}

/* Goes on where the image before was, if there was one. */
static void adopt(struct server *server)
{
    if (server->received != NULL)
        handover_adopt(server->received, server);
}

static bool open_http(struct server *server, rlim_t limit, struct rasad_error *error)
{
    unsigned connections = limit / 8 < 8 ? 8 : limit / 8 > 512 ? 512 : (unsigned)limit / 8;
    struct sockets sockets, old;
    int64_t left, admin;
    bool fine;

    server->http_connections = connections;
    if (!find_sockets(server, HANDOVER_HTTP, &server->conf->http, &sockets, &old, error))
        return false;
    fine = http_open(&sockets, connections, &server->source, server->log, &server->http, error);
    if (old.count > 0)
        note_place(server, HANDOVER_HTTP, &old);
    if (!fine)
        sockets_leave(&old);
    sockets_close(&old);
    if (!fine)
        return false;
    admin = limit / 32 < ADMIN_MOST_DESCRIPTORS ? (int64_t)limit / 32 : ADMIN_MOST_DESCRIPTORS;
    left = (int64_t)limit - count_descriptors(server) - connections - admin - SLACK_DESCRIPTORS -
           isolated_descriptors(server);
    server->listener.most = left > 1 ? left : 1;
    return true;
}

/* From now on crashes are noted; who is blamed for earlier ones is told. */
static void watch_crashes(const struct server *server)
{
    const struct conf *conf = server->conf;
    struct rasad_error error = {""};

    if (conf->crash_folder != NULL && !crash_begin(conf->crash_folder, &error))
        log_warning(server->log, "crashes can't be noted", log_text("reason", error.text));
    crash_use_stack();
    for (size_t i = 0; i < conf->metric_count; i++) {
        if (conf->metrics[i].is_blamed)
            log_warning(
                server->log,
                "a plugin crashed the server twice within 10 minutes: it runs isolated, for "
                "as long as the last crash is not 10 minutes ago",
                log_text("metric", conf->metrics[i].key),
                log_text("plugin", conf->metrics[i].aggregate.plugin->api.name));
    }
}

/* Whether connections can live on in the service manager's store, and counts on the disk. */
static bool may_be_kept(const struct server *server)
{
    struct rasad_error error;

    return service_is_there() && durable_is_wanted(server->conf, &error);
}

/* From now on sockets live on if this process is killed, if that is worth it and can be had. */
static void open_standing(struct server *server, struct standing *left)
{
    struct rasad_error error;

    server->common.standing = left;
    if (left == NULL && may_be_kept(server) && !standing_open(-1, &server->common.standing, &error))
        log_warning(server->log, "connections will not outlive a kill",
                    log_text("reason", error.text));
}

void server_settle(struct server *server)
{
    if (server->common.standing != NULL)
        standing_settle(server->common.standing);
}

void server_leave(struct server *server)
{
    server->common.is_left = true;
    if (server->common.standing == NULL)
        return;
    standing_leave(server->common.standing);
    sockets_leave(&server->listener.sockets);
    sockets_leave(&server->listener.next);
    if (server->http != NULL)
        http_leave(server->http);
}

void server_note_places(struct server *server)
{
    struct sockets listening = *listener_lock(&server->listener); /* open until another reload */

    /* The manager may take its time, and the loop must not wait for it. */
    listener_unlock(&server->listener);
    note_place(server, HANDOVER_LISTEN, &listening);
    note_place(server, HANDOVER_HTTP, http_sockets(server->http));
}

void server_tell_ready(const struct server *server)
{
    char status[64];

    (void)snprintf(status, sizeof status, "taking samples for %zu metric%s",
                   server->conf->metric_count, server->conf->metric_count == 1 ? "" : "s");
    service_tell_ready(status);
}

bool server_begin_conf(const struct server *server, struct conf *conf, struct rasad_error *error)
{
    const struct isolate_house house = {.log = server->log,
                                        .crash_folder = conf->crash_folder,
                                        .lanes = (uint32_t)server->common.shard_count};

    return conf_begin(conf, &house, error);
}

bool server_open(struct server *server, struct conf *conf, const struct log *log, bool verbose,
                 struct server_origin *origin, struct rasad_error *error)
{
    rlim_t limit = raise_limit();

    memset(server, 0, sizeof *server);
    server->conf = conf;
    server->conf->shelf.leaked = &server->reloads.leaked;
    server->log = log;
    server->signals = -1;
    server->program = origin->program;
    server->received = origin->received;
    server->units = origin->units;
    (void)pthread_mutex_init(&server->turnstile, NULL);
    (void)pthread_mutex_init(&server->turn, NULL);
    server->reloads.last_succeeded = true;
    server->reloads.last_success_ns = clock_wall_ns();
    server->common = (struct shard_common){
        .conf = conf,
        .log = log,
        .verbose = verbose,
        .families = &server->families,
        .taps = &server->taps,
        .shard_count = thread_count(conf),
        .take_cut = publisher_take_cut,
        .take_cut_context = &server->publisher,
    };
    standstill_open(&server->common.standstill, server->common.shard_count);
    taps_open(&server->taps);
    view_open(&server->view);
    tell_progress(server);
    open_standing(server, TAKE(origin->standing));
    if (!open_store(server, error))
        return false;
    watch_crashes(server);
    if (!take_signals(server, error) || !server_begin_conf(server, conf, error) ||
        !families_open(&server->families, conf, server->common.shard_count, error) ||
        !open_shards(server, error) ||
        !publisher_open(&server->publisher, &server->view, &server->common, server->store, error) ||
        !load_state(server, error) || !admin_open(server, &server->admin, error) ||
        !open_listener(server, error))
        return false;
    make_source(server);
    adopt(server); /* before anybody can look */
    if (!open_http(server, limit, error))
        return false;
    server_note_places(server);
    return start_threads(server, error) && reloader_start(&server->reloader, server, error) &&
           admin_start(server->admin, error);
}

/* What a signal asks for; false if it is the end. */
static bool take_signal(struct server *server)
{
    struct signalfd_siginfo signal;

    if (read(server->signals, &signal, sizeof signal) != sizeof signal)
        return true;
    if (signal.ssi_signo == SIGUSR2) {
        reloader_want_upgrade(&server->reloader);
        return true;
    }
    if (signal.ssi_signo != SIGHUP) {
        log_info(server->log, "stopping",
                 log_text("signal", signal.ssi_signo == SIGINT ? "SIGINT" : "SIGTERM"));
        return false;
    }
    reloader_want(&server->reloader);
    return true;
}

static uint64_t sum_samples(const struct server *server)
{
    uint64_t sum = 0;

    for (uint32_t id = 0; id < families_count(&server->families); id++) {
        const struct family *family = families_at(&server->families, id);

        if (family != NULL)
            sum += family_samples(family, server->common.shard_count);
    }
    return sum;
}

static void close_admin(struct server *server)
{
    admin_close(server->admin);
    server->admin = NULL;
}

/* What was applied is durable by now. Whoever comes until the next process is there waits at the
 * sockets, which it gets as well. */
static bool keep(struct server *server)
{
    http_pause(server->http, clock_steady_ns() + NS_PER_S);
    listener_turn(&server->listener); /* to the sockets of the last reload */
    if (!service_keep(server))
        return false;
    sockets_leave(&server->listener.sockets);
    sockets_close(&server->listener.sockets);
    http_leave(server->http);
    return true;
}

/* All that the shards, whose threads have ended, have taken comes to the disk. */
static void commit_last(struct server *server)
{
    struct publisher *publisher = &server->publisher;
    struct rasad_error error = {""};
    bool fine = true;

    publisher_pause(publisher);
    publisher_prepare_settle(publisher);
    for (int i = 0; fine && i < server->common.shard_count; i++) {
        struct cut *cut = shard_cut(&server->shards[i]);

        fine = cut != NULL || rasad_fail_memory(&error);
        publisher_take_cut(publisher, i, cut, publisher->ticket);
    }
    fine = fine && publisher_settle(publisher, false, &error);
    publisher_resume(publisher);
    if (!fine)
        log_error(server->log,
                  "the last commit failed: what is not on disk is lost, unless its sender keeps it",
                  log_text("reason", error.text));
}

/* First nothing new comes in, then what came in is applied and committed, then the threads end. */
static void stop(struct server *server)
{
    bool kept;

    service_tell_stopping();
    reloader_stop(&server->reloader);
    close_admin(server);
    kept = server->common.standing != NULL && may_be_kept(server);
    http_set_ready(server->http, kept);
    if (!kept)
        listener_close(&server->listener);
    publisher_stop(&server->publisher);
    shards_stop(server->shards, server->common.shard_count);
    commit_last(server);
    shards_acknowledge(server->shards, server->common.shard_count);
    kept = kept && keep(server);
    listener_close(&server->listener);
    shards_close_connections(server->shards, server->common.shard_count,
                             kept ? "the service manager keeps it" : "the server stops");
    log_info(server->log, "stopped",
             log_number("messages", (int64_t)shards_sum(server->shards, server->common.shard_count,
                                                        offsetof(struct counters, messages))),
             log_number("samples", (int64_t)sum_samples(server)));
}

/* What the loop waits for, in this order: signals, the listener's bell, its sockets. */
enum { POLLED_SIGNALS, POLLED_BELL, POLLED_SOCKETS };

/* Lists it; returns how many. */
static nfds_t list_polled(const struct server *server, struct pollfd *polled)
{
    const struct sockets *sockets = &server->listener.sockets;

    polled[POLLED_SIGNALS] = (struct pollfd){.fd = server->signals, .events = POLLIN};
    polled[POLLED_BELL] = (struct pollfd){.fd = server->listener.bell, .events = POLLIN};
    for (size_t i = 0; i < sockets->count; i++)
        polled[POLLED_SOCKETS + i] = (struct pollfd){.fd = sockets->fds[i], .events = POLLIN};
    return POLLED_SOCKETS + sockets->count;
}

/* Takes in what waits; false if that can't be for now. */
static bool accept_all(struct server *server, const struct pollfd *polled, nfds_t count)
{
    bool fine = true;

    for (nfds_t i = POLLED_SOCKETS; i < count; i++) {
        if (polled[i].revents != 0)
            fine &= listener_accept(&server->listener, polled[i].fd);
    }
    return fine;
}

/* What one wait of the loop has brought, if it was fine; false at the end. `*resting`: those who
 * wait are left alone for a moment, so that we don't spin. */
static bool take_turn(struct server *server, const struct pollfd *polled, nfds_t count, int ready,
                      bool *resting)
{
    if (ready > 0 && polled[POLLED_SIGNALS].revents != 0 && !take_signal(server))
        return false;
    *resting = ready > 0 && !*resting && !accept_all(server, polled, count);
    if (ready > 0 && polled[POLLED_BELL].revents != 0)
        listener_turn(&server->listener);
    return true;
}

/* Who holds the turnstile comes first: while the loop works it is free to take. */
static void begin_turn(struct server *server, struct heartbeat *heartbeat)
{
    heartbeat_lock(heartbeat, &server->common, &server->turnstile);
    (void)pthread_mutex_lock(&server->turn);
    (void)pthread_mutex_unlock(&server->turnstile);
}

void server_hold(struct server *server)
{
    (void)pthread_mutex_lock(&server->turnstile);
    (void)pthread_mutex_lock(&server->turn);
}

void server_let_go(struct server *server)
{
    (void)pthread_mutex_unlock(&server->turn);
    (void)pthread_mutex_unlock(&server->turnstile);
}

bool server_run(struct server *server, struct rasad_error *error)
{
    struct pollfd polled[POLLED_SOCKETS + SOCKETS_MOST];
    struct heartbeat heartbeat =
        heartbeat_make(&server->view, service_beat_ns(), clock_steady_ns());
    bool resting = false;

    http_set_ready(server->http, true);
    server_tell_ready(server);
    while (!server->ending) {
        nfds_t count = list_polled(server, polled);
        int wait_ms = resting ? REST_MS : heartbeat_wait_ms(&heartbeat, clock_steady_ns());
        int ready = poll(polled, resting ? POLLED_SOCKETS : count, wait_ms);
        bool broken = ready < 0 && errno != EINTR;

        if (broken)
            (void)rasad_fail(error, "cannot wait for connections: %s", strerror(errno));
        begin_turn(server, &heartbeat);
        server->ending = broken || !take_turn(server, polled, count, ready, &resting);
        (void)pthread_mutex_unlock(&server->turn);
        heartbeat_turn(&heartbeat, &server->common, clock_steady_ns());
    }
    stop(server);
    return error->text[0] == '\0';
}

void server_close(struct server *server)
{
    reloader_stop(&server->reloader);
    close_admin(server);
    publisher_stop(&server->publisher);
    http_close(server->http);
    listener_close(&server->listener);
    if (server->shards_open == server->common.shard_count) {
        shards_stop(server->shards, server->shards_open);
        shards_close_connections(server->shards, server->shards_open, "the server stops");
    }
    publisher_close(&server->publisher);
    for (int i = 0; i < server->shards_open; i++)
        shard_close(&server->shards[i]);
    free(server->shards);
    view_close(&server->view);
    taps_close(&server->taps);
    families_close(&server->families);
    store_close(server->store);
    standing_close(server->common.standing);
    standstill_close(&server->common.standstill);
    conf_free(server->conf);
    crash_end();
    close_at(&server->signals);
    (void)pthread_mutex_destroy(&server->turn);
    (void)pthread_mutex_destroy(&server->turnstile);
}
