/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rasadctl: asks and steers a running server, and helps who writes plugins.
 */
#include <getopt.h>
#include <locale.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/standard.h"
#include "ctl.h"
#include "output.h"

static const struct verb {
    const char *name;
    int (*run)(int argc, char *argv[]);
    const char *summary;
} verbs[] = {
    {"status", status_main, "how the server does"},
    {"plugins", plugins_main, "the plugins in use"},
    {"metrics", metrics_main, "the metric families"},
    {"agents", agents_main, "who sends"},
    {"series", series_main, "the series and their values"},
    {"top", top_main, "the busiest agents, every second"},
    {"tail", tail_main, "samples as they come, and what becomes of them"},
    {"send", send_main, "send a sample, or JSON lines from standard input"},
    {"plan", plan_main, "what a reload would do"},
    {"reload", reload_main, "apply the changed conf and plugins"},
    {"upgrade", upgrade_main, "run the installed version in the running one's place"},
    {"dump", dump_main, "make a backup of the server's state"},
    {"restore", restore_main, "make a state folder out of a backup"},
    {"check", check_main, "check a plugin against the laws, or a conf"},
    {"new-plugin", new_plugin_main, "write a folder with a plugin of your own to begin with"},
};

static void print_usage(FILE *out)
{
    (void)fputs("usage: rasadctl [-S SOCKET] VERB ...\n"
                "  -S, --socket SOCKET  ask the server there (default: $" CTL_SOCKET_VARIABLE
                ", else " CTL_DEFAULT_SOCKET ")\n"
                "  -V, --version        print the version and exit\n"
                "  -h, --help           print this and exit; VERB -h tells of the verb\n\n",
                out);
    for (size_t i = 0; i < sizeof verbs / sizeof *verbs; i++)
        (void)fprintf(out, "  %-12s %s\n", verbs[i].name, verbs[i].summary);
}

static int run_verb(int argc, char *argv[])
{
    for (size_t i = 0; i < sizeof verbs / sizeof *verbs; i++) {
        if (strcmp(argv[0], verbs[i].name) != 0)
            continue;
        optind = 0; /* the verb reads its own options, from its first argument on */
        return verbs[i].run(argc, argv);
    }
    (void)fprintf(stderr, "rasadctl: unknown verb \"%s\"\n", argv[0]);
    print_usage(stderr);
    return EX_USAGE;
}

static int run(int argc, char *argv[])
{
    static const struct option options[] = {
        {"socket", required_argument, NULL, 'S'},
        {"version", no_argument, NULL, 'V'},
        {"help", no_argument, NULL, 'h'},
        {NULL, 0, NULL, 0},
    };
    int option;

    while ((option = getopt_long(argc, argv, "+S:Vh", options, NULL)) != -1) {
        switch (option) {
        case 'S':
            (void)setenv(CTL_SOCKET_VARIABLE, optarg, 1);
            break;
        case 'V':
            (void)puts("rasadctl " RASAD_VERSION);
            return EXIT_SUCCESS;
        case 'h':
            print_usage(stdout);
            return EXIT_SUCCESS;
        default:
            print_usage(stderr);
            return EX_USAGE;
        }
    }
    if (optind < argc)
        return run_verb(argc - optind, argv + optind);
    print_usage(stderr);
    return EX_USAGE;
}

int main(int argc, char *argv[])
{
    int status;

    standard_fill();
    /* Only for the width of characters: all that we write is UTF-8, whatever the terminal's
     * language. Numbers stay as they are. */
    (void)setlocale(LC_CTYPE, "C.UTF-8");
    /* Whoever reads our output may end before us; that is no error. */
    (void)signal(SIGPIPE, SIG_IGN);
    status = run(argc, argv);
    if (fflush(stdout) == 0 && ferror(stdout) == 0)
        return status;
    if (output_is_closed())
        return EXIT_SUCCESS;
    (void)fputs("rasadctl: cannot write to standard output\n", stderr);
    return EXIT_FAILURE;
}
