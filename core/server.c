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

/* The lowest free number tells how many descriptors are open, for we leave no holes of note. */
static int64_t count_descriptors(void)
{
    SCOPED(close_at) int probe = dup(STDERR_FILENO);

    return probe < 0 ? 0 : probe;
}

/* Signals come as reads, so no thread is ever interrupted by one. */
static bool take_signals(struct server *server, struct rasad_error *error)
{
    sigset_t wanted;

    (void)sigemptyset(&wanted);
    (void)sigaddset(&wanted, SIGINT);
    (void)sigaddset(&wanted, SIGTERM);
    (void)sigaddset(&wanted, SIGHUP);
    (void)pthread_sigmask(SIG_BLOCK, &wanted, NULL);
    (void)signal(SIGPIPE, SIG_IGN);
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

static bool start_threads(struct server *server, struct rasad_error *error)
{
    for (int i = 0; i < server->common.shard_count; i++) {
        if (!shard_start(&server->shards[i], error))
            return false;
    }
    return publisher_start(&server->publisher, error);
}

static bool open_http(struct server *server, rlim_t limit, struct rasad_error *error)
{
    unsigned connections = limit / 8 < 8 ? 8 : limit / 8 > 512 ? 512 : (unsigned)limit / 8;
    int64_t left;

    server->source = (struct scrape_source){
        .conf = server->conf,
        .families = &server->families,
        .view = &server->view,
        .publisher = &server->publisher,
        .shards = server->shards,
        .common = &server->common,
        .refused_connections = &server->listener.refused,
        .failed_reloads = &server->failed_reloads,
        .start_ns = clock_wall_ns(),
    };
    if (!http_open(&server->conf->http, connections, &server->source, server->log, &server->http,
                   error))
        return false;
    left = (int64_t)limit - count_descriptors() - connections - SLACK_DESCRIPTORS;
    server->listener.most = left > 1 ? left : 1;
    return true;
}

bool server_open(struct server *server, const struct conf *conf, const struct log *log,
                 bool verbose, struct rasad_error *error)
{
    rlim_t limit = raise_limit();

    memset(server, 0, sizeof *server);
    server->conf = conf;
    server->log = log;
    server->signals = -1;
    server->listener.spare = -1;
    server->common = (struct shard_common){
        .conf = conf,
        .log = log,
        .verbose = verbose,
        .families = &server->families,
        .shard_count = thread_count(conf),
        .take_cut = publisher_take_cut,
        .take_cut_context = &server->publisher,
    };
    view_open(&server->view);
    return take_signals(server, error) &&
           families_open(&server->families, conf, server->common.shard_count, error) &&
           open_shards(server, error) &&
           publisher_open(&server->publisher, &server->view, server->shards,
                          server->common.shard_count, error) &&
           listener_open(&server->listener, &server->common, error) &&
           open_http(server, limit, error) && start_threads(server, error);
}

/* What a signal asks for; false if it is the end. */
static bool take_signal(struct server *server)
{
    struct signalfd_siginfo signal;

    if (read(server->signals, &signal, sizeof signal) != sizeof signal)
        return true;
    if (signal.ssi_signo != SIGHUP) {
        log_info(server->log, "stopping",
                 log_text("signal", signal.ssi_signo == SIGINT ? "SIGINT" : "SIGTERM"));
        return false;
    }
    (void)atomic_fetch_add(&server->failed_reloads, 1);
    log_plain(server->log, LOG_LEVEL_WARNING,
              "SIGHUP: this version cannot reload its conf (restart it instead)");
    return true;
}

static uint64_t sum_samples(const struct server *server)
{
    uint64_t sum = 0;

    for (uint32_t id = 0; id < families_count(&server->families); id++)
        sum += family_samples(families_at(&server->families, id), server->common.shard_count);
    return sum;
}

/* First nothing new comes in, then what came in is applied, then the threads end. */
static void stop(struct server *server)
{
    http_set_ready(server->http, false);
    listener_close(&server->listener);
    publisher_stop(&server->publisher);
    shards_stop(server->shards, server->common.shard_count);
    log_info(server->log, "stopped",
             log_number("messages", (int64_t)shards_sum(server->shards, server->common.shard_count,
                                                        offsetof(struct counters, messages))),
             log_number("samples", (int64_t)sum_samples(server)));
}

/* Takes in what waits; false if that can't be for now. */
static bool accept_all(struct server *server, const struct pollfd *polled, nfds_t count)
{
    bool fine = true;

    for (nfds_t i = 1; i < count; i++) {
        if (polled[i].revents != 0)
            fine &= listener_accept(&server->listener, polled[i].fd);
    }
    return fine;
}

bool server_run(struct server *server, struct rasad_error *error)
{
    struct pollfd polled[LISTENER_MOST_ADDRESSES + 1] = {{.fd = server->signals, .events = POLLIN}};
    nfds_t count = server->listener.count + 1;
    bool resting = false; /* those who wait are left alone, so that we don't spin */

    for (nfds_t i = 1; i < count; i++)
        polled[i] = (struct pollfd){.fd = server->listener.fds[i - 1], .events = POLLIN};
    http_set_ready(server->http, true);
    for (;;) {
        int ready = poll(polled, resting ? 1 : count, resting ? REST_MS : -1);

        if (ready < 0 && errno != EINTR) {
            (void)rasad_fail(error, "cannot wait for connections: %s", strerror(errno));
            break;
        }
        if (ready > 0 && polled[0].revents != 0 && !take_signal(server))
            break;
        resting = ready > 0 && !resting && !accept_all(server, polled, count);
    }
    stop(server);
    return error->text[0] == '\0';
}

void server_close(struct server *server)
{
    publisher_stop(&server->publisher);
    http_close(server->http);
    listener_close(&server->listener);
    if (server->shards_open == server->common.shard_count)
        shards_stop(server->shards, server->shards_open);
    publisher_close(&server->publisher);
    for (int i = 0; i < server->shards_open; i++)
        shard_close(&server->shards[i]);
    free(server->shards);
    view_close(&server->view);
    families_close(&server->families);
    close_at(&server->signals);
}
