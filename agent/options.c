/* SPDX-License-Identifier: Apache-2.0 */
#include "options.h"

#include <getopt.h>
#include <string.h>

#include "agent_name.h"
#include "base/address.h"
#include "base/clock.h"
#include "base/number.h"

#define LEAST_INTERVAL_S 0.01
#define MOST_INTERVAL_S 86400.0

const char options_usage[] =
    "usage: rasad-agent [-hV] [-c FILE] [-s HOST:PORT]... [-n NAME] [-i SECONDS] "
    "[-C NAME,NAME] [--stdin]\n";

const char options_help[] =
    "\nMeasures on this host and pushes the samples to a Rasad server.\n\n"
    "  -c, --conf FILE          read FILE instead of the default agent.conf\n"
    "  -s, --server HOST:PORT   push to this server; repeat it in order of preference\n"
    "                           (port 5050 if left out)\n"
    "  -n, --name NAME          the name that series carry (default: the host's name)\n"
    "  -i, --interval SECONDS   call every collector so often (a fraction is fine)\n"
    "  -C, --collectors A,B     run just these collectors (default: cpu,letters,rtt)\n"
    "      --stdin              push the JSON values of standard input instead, then exit\n"
    "                           once the server has acknowledged all of them\n"
    "  -V, --version            print the version and exit\n"
    "  -h, --help               print this and exit\n\n"
    "Without a conf file -s is needed. Exit codes: 0 fine, 64 wrong usage, 65 a message of\n"
    "standard input was refused, 78 bad configuration, 1 the rest.\n";

static bool add_server(struct options *options, const char *server, struct rasad_error *error)
{
    char host[256];
    uint16_t port;

    if (options->server_count == OPTIONS_MOST_SERVERS)
        return rasad_fail(error, "more than %d servers", OPTIONS_MOST_SERVERS);
    if (!address_split(server, 1, host, &port, error))
        return false;
    options->servers[options->server_count++] = server;
    return true;
}

static bool set_interval(struct options *options, const char *text, struct rasad_error *error)
{
    double seconds;

    if (!number_parse(text, strlen(text), &seconds) || seconds < LEAST_INTERVAL_S ||
        seconds > MOST_INTERVAL_S)
        return rasad_fail(error, "\"%s\" is no interval (write seconds, %g to %.0f)", text,
                          LEAST_INTERVAL_S, MOST_INTERVAL_S);
    options->interval_ns = (int64_t)(seconds * NS_PER_S);
    return true;
}

static bool set_collectors(struct options *options, char *list, struct rasad_error *error)
{
    char *rest = NULL;

    options->collector_count = 0;
    for (char *name = strtok_r(list, ", ", &rest); name != NULL;
         name = strtok_r(NULL, ", ", &rest)) {
        bool twice = false;

        for (size_t i = 0; i < options->collector_count; i++)
            twice = twice || strcmp(options->collectors[i], name) == 0;
        if (twice)
            continue;
        if (options->collector_count == OPTIONS_MOST_COLLECTORS)
            return rasad_fail(error, "more than %d collectors", OPTIONS_MOST_COLLECTORS);
        options->collectors[options->collector_count++] = name;
    }
    return options->collector_count > 0 ||
           rasad_fail(error, "no collector named (write -C cpu,letters)");
}

static bool take_option(struct options *options, int option, struct rasad_error *error)
{
    switch (option) {
    case 'c':
        options->conf = optarg;
        return true;
    case 's':
        return add_server(options, optarg, error);
    case 'n':
        options->name = optarg;
        return agent_name_check(optarg, error);
    case 'i':
        return set_interval(options, optarg, error);
    case 'C':
        return set_collectors(options, optarg, error);
    case 'I':
        options->from_stdin = true;
        return true;
    case 'V':
        options->action = OPTIONS_VERSION;
        return true;
    case 'h':
        options->action = OPTIONS_HELP;
        return true;
    default:
        return rasad_fail(error, option == ':' ? "-%c wants a value" : "unknown option -%c",
                          optopt);
    }
}

bool options_parse(int argc, char *argv[], struct options *options, struct rasad_error *error)
{
    static const struct option rows[] = {
        {"conf", required_argument, NULL, 'c'},     {"config", required_argument, NULL, 'c'},
        {"server", required_argument, NULL, 's'},   {"name", required_argument, NULL, 'n'},
        {"interval", required_argument, NULL, 'i'}, {"collectors", required_argument, NULL, 'C'},
        {"stdin", no_argument, NULL, 'I'},          {"version", no_argument, NULL, 'V'},
        {"help", no_argument, NULL, 'h'},           {0},
    };
    int option;

    *options = (struct options){.action = OPTIONS_RUN};
    optind = 0; /* glibc: begin afresh, so that tests may call this again */
    while ((option = getopt_long(argc, argv, ":c:s:n:i:C:Vh", rows, NULL)) != -1) {
        if ((option == '?' || option == ':') && strncmp(argv[optind - 1], "--", 2) == 0)
            return rasad_fail(error, option == ':' ? "%s wants a value" : "unknown option %s",
                              argv[optind - 1]);
        if (!take_option(options, option, error))
            return false;
    }
    if (optind < argc)
        return rasad_fail(error, "unknown argument \"%s\"", argv[optind]);
    return true;
}
