/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rasad-agent: runs collectors and pushes what they measure to a Rasad server. This file joins the
 * parts: command line and conf say what is to be done, the runner (this thread) does it, and the
 * client library (threads of its own) brings it to the server.
 */
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/signalfd.h>
#include <sysexits.h>
#include <unistd.h>

#include "agent_conf.h"
#include "agent_name.h"
#include "base/clock.h"
#include "base/install.h"
#include "base/log.h"
#include "base/scoped.h"
#include "base/standard.h"
#include "feed.h"
#include "library.h"
#include "options.h"
#include "runner.h"
#include "state_folder.h"

/* What a clean end waits for acknowledgements. */
#define GOODBYE_MS 500

static const char *const default_collectors[] = {"cpu", "letters", "rtt"};

struct agent {
    struct log log;
    struct options options;
    struct agent_conf *conf; /* owned; NULL without a file */
    char name[AGENT_NAME_LENGTH];
    char spool[PATH_MAX];        /* its usual folder */
    struct rasad_client *client; /* owned */
    bool is_kept;                /* the spool is on disk */
    struct runner runner;
    int signal_fd;
};

static void agent_free(struct agent *agent)
{
    rasad_client_close(agent->client);
    runner_free(&agent->runner);
    agent_conf_free(agent->conf);
    close_at(&agent->signal_fd);
}

/* ---- What is to be done ---- */

/* Reads the conf; the default one may be missing if the command line says enough. */
static bool read_conf(struct agent *agent, struct text *report)
{
    char path[PATH_MAX];

    if (agent->options.conf != NULL)
        return agent_conf_read(agent->options.conf, &agent->conf, report);
    install_conf_path("agent.conf", path);
    if (access(path, F_OK) == 0)
        return agent_conf_read(path, &agent->conf, report);
    if (agent->options.server_count > 0)
        return true;
    text_printf(report,
                "rasad-agent: no server: there is no %s (write -s HOST:PORT, or into that file "
                "server = { \"HOST:PORT\" })\n",
                path);
    return false;
}

static bool choose_name(struct agent *agent, struct rasad_error *error)
{
    const char *name = agent->options.name;

    if (name == NULL && agent->conf != NULL && agent->conf->name[0] != '\0')
        name = agent->conf->name;
    if (name != NULL) {
        (void)snprintf(agent->name, sizeof agent->name, "%s", name);
        return true;
    }
    return agent_name_of_host(agent->name, error) || rasad_fail_at(error, "write -n NAME");
}

/* Whether this is a place where a spool could be; the usual one may not be ours to write to. */
static bool can_have(const char *folder)
{
    SCOPED(free_at) char *path = strdup(folder);
    char *slash;

    while (path != NULL && access(path, F_OK) != 0) {
        slash = strrchr(path, '/');
        if (slash == path)
            return access("/", W_OK | X_OK) == 0;
        *slash = '\0';
    }
    return path != NULL && access(path, W_OK | X_OK) == 0;
}

/* Where the spool lies: where the conf says, or at the usual place if that can be; else, or with ""
 * in the conf, in memory. */
static bool choose_spool(struct agent *agent, struct rasad_client_options *options,
                         struct rasad_error *error)
{
    const struct agent_conf *conf = agent->conf;

    options->spool = "";
    if (conf != NULL && strcmp(conf->spool_sync, "memory") == 0)
        return true;
    if (conf != NULL && strcmp(conf->spool_sync, "os") == 0)
        options->sync = RASAD_CLIENT_SYNC_OS;
    if (conf != NULL && conf->has_spool) {
        options->spool = conf->spool;
        return true;
    }
    if (!state_folder(agent->name, agent->spool, error))
        return false;
    if (can_have(agent->spool)) {
        options->spool = agent->spool;
        return true;
    }
    log_warning(&agent->log, "the spool can't be kept there, so messages are in memory only",
                log_text("folder", agent->spool),
                log_text("hint", "write spool = \"FOLDER\" into agent.conf"));
    return true;
}

static void choose_policy(const struct agent *agent, struct rasad_client_options *options)
{
    const struct agent_conf *conf = agent->conf;
    bool drops = !agent->options.from_stdin;

    if (conf != NULL && conf->spool_full[0] != '\0')
        drops = strcmp(conf->spool_full, "drop-oldest") == 0;
    options->when_full = drops ? RASAD_CLIENT_DROP_OLDEST : RASAD_CLIENT_BLOCK;
    options->spool_max = conf != NULL ? conf->spool_max_bytes : 0;
}

static bool open_client(struct agent *agent, struct rasad_error *error)
{
    struct rasad_client_options options = {
        .size = sizeof options,
        .name = agent->name,
        .servers = agent->options.servers,
        .server_count = agent->options.server_count,
    };
    struct rasad_client_error why;

    if (options.server_count == 0) {
        options.servers = agent->conf->server.at;
        options.server_count = agent->conf->server.count;
    }
    if (!choose_spool(agent, &options, error))
        return false;
    choose_policy(agent, &options);
    agent->is_kept = options.spool[0] != '\0';
    return library_open(&options, &agent->log, &agent->client, &why) == RASAD_CLIENT_OK ||
           rasad_fail(error, "%s", why.text);
}

/* There must be a server in the command line or the conf. */
static bool check_servers(const struct agent *agent, struct rasad_error *error)
{
    if (agent->options.server_count > 0 || (agent->conf != NULL && agent->conf->server.count > 0))
        return true;
    return rasad_fail(error, "no server (write -s HOST:PORT, or into agent.conf server = { "
                             "\"HOST:PORT\" })");
}

/* The conf's section about a collector; NULL if there is none. */
static const struct agent_conf_collector *find_section(const struct agent *agent, const char *name)
{
    for (size_t i = 0; agent->conf != NULL && i < agent->conf->collector_count; i++) {
        if (strcmp(agent->conf->collectors[i].name, name) == 0)
            return &agent->conf->collectors[i];
    }
    return NULL;
}

/* Loads a collector from the conf's folders, or our own. */
static bool add_collector(struct agent *agent, const char *name, struct rasad_error *error)
{
    const struct agent_conf_collector *section = find_section(agent, name);
    int64_t interval_ns = section != NULL ? section->interval : 0;
    const char *folders[64];
    char own[PATH_MAX];
    size_t count = 0;
    struct collector *collector;

    if (!install_path(RASAD_COLLECTOR_DIR, own, error))
        return false;
    for (; agent->conf != NULL && count < agent->conf->collectors_path.count && count < 63; count++)
        folders[count] = agent->conf->collectors_path.at[count];
    folders[count++] = own;
    if (agent->options.interval_ns > 0)
        interval_ns = agent->options.interval_ns;
    if (!collector_open(folders, count, name, &collector, error))
        return section == NULL ? false
                               : rasad_fail_at(error, "%s:%d", section->file, section->line);
    if (runner_add(&agent->runner, collector, interval_ns, error))
        return true;
    collector_close(collector);
    return false;
}

/* Those of the command line; or else the usual ones and the conf's, as it enables them. */
static bool add_collectors(struct agent *agent, struct rasad_error *error)
{
    const struct options *options = &agent->options;

    for (size_t i = 0; i < options->collector_count; i++) {
        if (!add_collector(agent, options->collectors[i], error))
            return false;
    }
    if (options->collector_count > 0)
        return true;
    for (size_t i = 0; i < sizeof default_collectors / sizeof *default_collectors; i++) {
        if (find_section(agent, default_collectors[i]) == NULL &&
            !add_collector(agent, default_collectors[i], error))
            return false;
    }
    for (size_t i = 0; agent->conf != NULL && i < agent->conf->collector_count; i++) {
        if (agent->conf->collectors[i].enabled &&
            !add_collector(agent, agent->conf->collectors[i].name, error))
            return false;
    }
    return true;
}

/* ---- Doing it ---- */

static void push(void *user, const char *bytes, size_t length)
{
    struct agent *agent = user;
    struct rasad_client_error error;

    /* Not rasad_client_push(): no collector waits for a disk. */
    if (rasad_client_post(agent->client, bytes, length, &error) != RASAD_CLIENT_OK)
        log_error(&agent->log, "a message is lost", log_text("reason", error.text));
}

static void ping(void *user, uint64_t token)
{
    struct agent *agent = user;

    client_ping(library_client(agent->client), token);
}

static void take_pongs(struct agent *agent)
{
    struct client *client = library_client(agent->client);
    struct client_pong pong;

    client_clear_fd(client);
    while (client_take_pong(client, &pong))
        runner_pong(&agent->runner, pong.token, pong.rtt_ns, clock_steady_ns());
}

/* Waits until a collector is due or something came; true if it was a signal. */
static bool wait_for_events(struct agent *agent)
{
    struct pollfd events[] = {
        {.fd = agent->signal_fd, .events = POLLIN},
        {.fd = client_fd(library_client(agent->client)), .events = POLLIN},
    };
    int64_t due_ns = runner_due_ns(&agent->runner), left_ns = due_ns - clock_steady_ns();
    struct timespec wait = {.tv_sec = left_ns / NS_PER_S, .tv_nsec = left_ns % NS_PER_S};

    if (left_ns < 0)
        wait = (struct timespec){0};
    if (ppoll(events, sizeof events / sizeof *events, due_ns == INT64_MAX ? NULL : &wait, NULL) < 0)
        return false; /* EINTR: look again */
    if (events[1].revents != 0)
        take_pongs(agent);
    return events[0].revents != 0;
}

static int run_collectors(struct agent *agent)
{
    struct rasad_client_counts counts = {.size = sizeof counts};

    do
        runner_run(&agent->runner, clock_steady_ns());
    while (!wait_for_events(agent));
    if (rasad_client_flush(agent->client, GOODBYE_MS, NULL) != RASAD_CLIENT_OK) {
        rasad_client_counts(agent->client, &counts);
        log_warning(&agent->log, "messages were not acknowledged",
                    log_number("count", (int64_t)counts.pending),
                    log_text("kept", agent->is_kept ? "in the spool" : "no"));
    }
    log_plain(&agent->log, LOG_LEVEL_INFO, "stopped");
    return 0;
}

static void log_start(const struct agent *agent)
{
    SCOPED(text_free) struct text names = {0};

    for (size_t i = 0; i < agent->runner.task_count; i++)
        text_printf(&names, "%s%s", i > 0 ? "," : "", agent->runner.tasks[i].collector->api.name);
    log_info(&agent->log, "starting", log_text("version", RASAD_VERSION),
             log_text("agent", agent->name),
             log_text("collectors", agent->options.from_stdin ? "stdin" : text_end(&names)));
}

/* SIGTERM and SIGINT become readable; SIGPIPE never matters. */
static bool take_signals(struct agent *agent, struct rasad_error *error)
{
    sigset_t ends;

    (void)signal(SIGPIPE, SIG_IGN);
    (void)signal(SIGXFSZ, SIG_IGN); /* a file that may not grow is an error of the write */
    (void)sigemptyset(&ends);
    (void)sigaddset(&ends, SIGTERM);
    (void)sigaddset(&ends, SIGINT);
    if (sigprocmask(SIG_BLOCK, &ends, NULL) != 0 ||
        (agent->signal_fd = signalfd(-1, &ends, SFD_CLOEXEC | SFD_NONBLOCK)) < 0)
        return rasad_fail(error, "cannot take signals: %s", strerror(errno));
    return true;
}

static bool prepare_runner(struct agent *agent, struct rasad_error *error)
{
    agent->runner = (struct runner){
        .log = &agent->log,
        .proc = "/proc",
        .sink = {.user = agent, .push = push, .ping = ping},
    };
    if (getrandom(&agent->runner.random, sizeof agent->runner.random, 0) !=
        sizeof agent->runner.random)
        return rasad_fail(error, "no random bytes: %s", strerror(errno));
    return true;
}

static int complain(const struct rasad_error *error, int code)
{
    (void)fprintf(stderr, "rasad-agent: %s\n", error->text);
    return code;
}

static int run(struct agent *agent)
{
    SCOPED(text_free) struct text report = {0};
    struct rasad_error error;

    if (!read_conf(agent, &report)) {
        (void)fputs(text_end(&report), stderr);
        return EX_CONFIG;
    }
    if (!take_signals(agent, &error) || !prepare_runner(agent, &error))
        return complain(&error, 1);
    if (!choose_name(agent, &error) || !check_servers(agent, &error) ||
        (!agent->options.from_stdin && !add_collectors(agent, &error)))
        return complain(&error, EX_CONFIG);
    if (!open_client(agent, &error))
        return complain(&error, 1);
    log_start(agent);
    if (agent->options.from_stdin)
        return feed_run(library_client(agent->client), &agent->log, STDIN_FILENO, agent->signal_fd);
    return run_collectors(agent);
}

int main(int argc, char *argv[])
{
    _Atomic uint64_t lost_lines = 0;
    SCOPED(agent_free)
    struct agent agent = {.signal_fd = -1, .log = log_make(STDERR_FILENO, &lost_lines)};
    struct rasad_error error;

    standard_fill();
    if (!options_parse(argc, argv, &agent.options, &error)) {
        (void)complain(&error, EX_USAGE);
        (void)fputs(options_usage, stderr);
        return EX_USAGE;
    }
    if (agent.options.action == OPTIONS_HELP)
        return printf("%s%s", options_usage, options_help) < 0;
    if (agent.options.action == OPTIONS_VERSION)
        return printf("rasad-agent %s (collector ABI %d)\n", RASAD_VERSION, RASAD_COLLECTOR_ABI) <
               0;
    return run(&agent);
}
