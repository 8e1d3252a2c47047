/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rasadd: the server's program: its flags, its conf, and its exit code.
 */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include "base/install.h"
#include "base/log.h"
#include "base/scoped.h"
#include "base/standard.h"
#include "conf/conf.h"
#include "handover/durable.h"
#include "handover/handover.h"
#include "handover/program.h"
#include "handover/service.h"
#include "handover/standing.h"
#include "probe.h"
#include "server.h"

static const char usage[] = "usage: rasadd [-c FILE] [-t | -T] [-v]\n"
                            "  -c, --conf FILE   read this conf (default: /etc/rasad/rasad.conf)\n"
                            "  -t, --test        check the conf and exit\n"
                            "  -T, --print       print the effective conf and exit\n"
                            "  -v, --verbose     show each message as it comes\n"
                            "  -V, --version     print the version and exit\n"
                            "  -h, --help        print this and exit\n";

struct arguments {
    const char *conf;
    bool test, print, verbose;
    const char *handover; /* the descriptor of one that is ours; NULL: none */
    const char *check;    /* the descriptor of one that is only looked at */
    bool done;            /* all is said: exit with `status` */
    int status;
};

static struct arguments finish(struct arguments arguments, int status)
{
    arguments.done = true;
    arguments.status = status;
    return arguments;
}

static struct arguments read_arguments(int argc, char *argv[])
{
    static const struct option options[] = {
        {"conf", required_argument, NULL, 'c'},
        {"test", no_argument, NULL, 't'},
        {"print", no_argument, NULL, 'T'},
        {"verbose", no_argument, NULL, 'v'},
        {"version", no_argument, NULL, 'V'},
        {"help", no_argument, NULL, 'h'},
        /* Not for people: the server says these to the program that takes its place. */
        {"handover", required_argument, NULL, 'H'},
        {"check-handover", required_argument, NULL, 'K'},
        {NULL, 0, NULL, 0},
    };
    struct arguments arguments = {0};
    int option;

    while ((option = getopt_long(argc, argv, "c:tTvVh", options, NULL)) != -1) {
        switch (option) {
        case 'c':
            arguments.conf = optarg;
            break;
        case 't':
            arguments.test = true;
            break;
        case 'T':
            arguments.print = true;
            break;
        case 'v':
            arguments.verbose = true;
            break;
        case 'H':
            arguments.handover = optarg;
            break;
        case 'K':
            arguments.check = optarg;
            break;
        case 'V':
            (void)puts("rasadd " RASAD_VERSION);
            return finish(arguments, EXIT_SUCCESS);
        case 'h':
            (void)fputs(usage, stdout);
            return finish(arguments, EXIT_SUCCESS);
        default:
            (void)fputs(usage, stderr);
            return finish(arguments, EX_USAGE);
        }
    }
    if (optind < argc) {
        (void)fprintf(stderr, "rasadd: unexpected argument \"%s\"\n%s", argv[optind], usage);
        return finish(arguments, EX_USAGE);
    }
    return arguments;
}

static void conf_free_at(struct conf **conf)
{
    conf_free(*conf);
}

static void print_address(const char *what, const struct conf_listen *listen)
{
    if (strncmp(listen->address, "unix:", 5) == 0)
        (void)printf("%s on %s", what, listen->address);
    else
        (void)printf("%s on %s:%u", what, listen->address, listen->port);
}

/* The answer to -t, of a conf without errors. */
static void print_fine(const char *path, const struct conf *conf)
{
    (void)printf("%s: ok: %zu metric%s, %zu plugin%s (", path, conf->metric_count,
                 conf->metric_count == 1 ? "" : "s", conf->shelf.count,
                 conf->shelf.count == 1 ? "" : "s");
    for (size_t i = 0; i < conf->shelf.count; i++)
        (void)printf("%s%s", i > 0 ? ", " : "", conf->shelf.plugins[i]->api.name);
    print_address("), agents", &conf->listen);
    print_address(", web", &conf->http);
    (void)putchar('\n');
}

static int print_conf(const struct conf *conf)
{
    SCOPED(text_free) struct text out = {0};

    conf_print(conf, &out);
    (void)fputs(text_end(&out), stdout);
    return out.failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

/* The answer to the server whose place we are to take: whether we could. */
static int check_handover(const char *fd, const struct conf *conf)
{
    struct rasad_error error = {""};

    if (!handover_fits(atoi(fd), conf, &error) || !durable_is_readable(conf, &error)) {
        (void)fprintf(stderr, "%s\n", error.text);
        return EXIT_FAILURE;
    }
    (void)puts(PROGRAM_ANSWER " " RASAD_VERSION);
    return EXIT_SUCCESS;
}

/*
 * What the image before us left, NULL if there was none. If it can't be read, its descriptors are
 * closed, and so agents resume and nothing is lost; which ones they are nobody knows any more.
 */
static struct handover_received *take_handover(const char *fd, struct server_origin *origin,
                                               struct rasad_error *error)
{
    struct handover_received *received = NULL;

    if (fd == NULL)
        return service_take(&origin->standing, origin->units, error);
    if (!handover_take(atoi(fd), &received, error)) {
        service_give_up();
        (void)close_range(STDERR_FILENO + 1, ~0U, 0);
    }
    if (received != NULL)
        handover_reap(received);
    return received;
}

/* What the server has not taken is for the next process. */
static void origin_end(struct server_origin *origin)
{
    handover_close(origin->received);
    for (int place = 0; place < HANDOVER_PLACES; place++)
        sockets_close(&origin->units[place]);
    if (origin->standing == NULL)
        return;
    standing_leave(origin->standing);
    standing_close(origin->standing);
}

/* Owns the conf. */
static int serve(struct conf *conf, bool verbose, struct server_origin *origin, const char *damage)
{
    _Atomic uint64_t lost_lines = 0;
    struct log log = log_make(STDERR_FILENO, &lost_lines);
    struct rasad_error error = {""};
    struct server server;
    bool fine;

    log_info(&log, "starting", log_text("version", RASAD_VERSION),
             log_number("metrics", (int64_t)conf->metric_count),
             log_number("plugins", (int64_t)conf->shelf.count));
    if (damage[0] != '\0')
        log_warning(&log,
                    origin->received == NULL
                        ? "connections were not taken over, their agents will resume"
                        : "connections are taken over as after a kill",
                    log_text("reason", damage));
    fine = server_open(&server, conf, &log, verbose, origin, &error);
    if (fine && origin->received != NULL)
        handover_finish(origin->received, &server);
    handover_close(TAKE(origin->received));
    if (fine)
        server_settle(&server);
    else
        server_leave(&server);
    fine = fine && server_run(&server, &error);
    server_close(&server);
    if (!fine)
        log_error(&log, "the server ends", log_text("reason", error.text));
    return fine ? EXIT_SUCCESS : EXIT_FAILURE;
}

int main(int argc, char *argv[])
{
    struct arguments arguments;
    SCOPED(text_free) struct text report = {0};
    SCOPED(conf_free_at) struct conf *conf = NULL;
    SCOPED(program_free) struct program program = {.count = 0};
    SCOPED(origin_end) struct server_origin origin = {.program = NULL};
    struct rasad_error error = {""}, damage = {""};
    char path[PATH_MAX];

    standard_fill();
    standing_mind_limit();
    if (program_find(argc, argv, &program, &error))
        origin.program = &program;
    arguments = read_arguments(argc, argv);
    if (arguments.done)
        return arguments.status;
    if (arguments.check == NULL && !arguments.test && !arguments.print)
        origin.received = take_handover(arguments.handover, &origin, &damage);
    if (arguments.conf != NULL)
        (void)snprintf(path, sizeof path, "%s", arguments.conf);
    else
        install_conf_path("rasad.conf", path);
    /* A program that takes over was checked a moment ago, with its plugins, and everybody waits. */
    if (!conf_read(path, NULL, arguments.handover != NULL ? NULL : probe_plugin, &conf, &report)) {
        (void)fputs(text_end(&report), stderr);
        return EX_CONFIG;
    }
    if (arguments.print)
        return print_conf(conf);
    if (arguments.test) {
        print_fine(path, conf);
        return EXIT_SUCCESS;
    }
    if (arguments.check != NULL)
        return check_handover(arguments.check, conf);
    return serve(TAKE(conf), arguments.verbose, &origin, damage.text);
}
