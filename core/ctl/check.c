/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rasadctl check: looks at a file before a server does, by its content: a shared object is a plugin
 * and is put through all laws, in the worker, since nothing of it shall run here; anything else is
 * a conf, about which the server's own program answers, in our place.
 */
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/install.h"
#include "base/scoped.h"
#include "ctl.h"
#include "probe.h"

enum { MOST_SETTINGS = 48 };

struct request {
    const char *path; /* NULL: the default conf */
    const char *older;
    uint64_t seed;
    const char *settings[MOST_SETTINGS];
    size_t setting_count;
    bool json;
    bool is_of_plugin; /* an option was given that a conf has no use for */
    bool help;
};

static const char usage[] =
    "usage: rasadctl check [FILE]\n"
    "Checks a conf as rasadd -t does (default: the server's), or all laws of a plugin.\n"
    "  --seed N                 try other confs and samples than those of seed 1\n"
    "  --older FILE.so          an older build, whose states the plugin shall migrate\n"
    "  --option 'NAME = VALUE'  an option that all confs of the plugin shall have\n"
    "  --json                   the plugin's report as a JSON object\n"
    "  -h, --help               print this and exit\n";

static bool read_seed(const char *text, uint64_t *seed)
{
    char *end;

    errno = 0;
    *seed = strtoull(text, &end, 10);
    if (errno == 0 && text[0] >= '0' && text[0] <= '9' && *end == '\0')
        return true;
    (void)fprintf(stderr, "rasadctl: --seed: \"%s\" is no whole number (write such as 7)\n", text);
    return false;
}

static bool take_option(struct request *request, int option, const char *value)
{
    request->is_of_plugin = request->is_of_plugin || option != 'h';
    switch (option) {
    case 's':
        return read_seed(value, &request->seed);
    case 'o':
        request->older = value;
        return true;
    case 'p':
        if (request->setting_count == MOST_SETTINGS) {
            (void)fprintf(stderr, "rasadctl: --option: more than %d of them\n", MOST_SETTINGS);
            return false;
        }
        request->settings[request->setting_count++] = value;
        return true;
    case 'j':
        request->json = true;
        return true;
    case 'h':
        request->help = true;
        return true;
    default:
        (void)fputs(usage, stderr);
        return false;
    }
}

/* Reads the arguments; false after it has said what is wrong. */
static bool read_request(int argc, char *argv[], struct request *request)
{
    static const struct option options[] = {
        {"seed", required_argument, NULL, 's'},   {"older", required_argument, NULL, 'o'},
        {"option", required_argument, NULL, 'p'}, {"json", no_argument, NULL, 'j'},
        {"help", no_argument, NULL, 'h'},         {0},
    };
    int option;

    optind = 0; /* whoever read the arguments before the verb may have used getopt, too */
    while ((option = getopt_long(argc, argv, "h", options, NULL)) != -1) {
        if (!take_option(request, option, optarg))
            return false;
    }
    if (optind < argc)
        request->path = argv[optind++];
    if (optind == argc)
        return true;
    (void)fprintf(stderr, "rasadctl: unexpected argument \"%s\"\n%s", argv[optind], usage);
    return false;
}

/* ---- A conf -------------------------------------------------------------------------------- */

/* Becomes the server's program, which checks the conf, says what is wrong and ends with its code.
 */
static int check_conf(const char *path)
{
    struct rasad_error error;
    char program[PATH_MAX];

    if (!install_path(RASAD_SERVER, program, &error)) {
        (void)fprintf(stderr, "rasadctl: %s\n", error.text);
        return EXIT_FAILURE;
    }
    if (path != NULL)
        (void)execl(program, "rasadd", "-t", "-c", path, (char *)NULL);
    else
        (void)execl(program, "rasadd", "-t", (char *)NULL);
    (void)fprintf(stderr, "rasadctl: cannot start %s: %s (is the installation complete?)\n",
                  program, strerror(errno));
    return EXIT_FAILURE;
}

/* ---- A plugin ------------------------------------------------------------------------------ */

/* Whether the file is an ELF file; a missing one is by its name. */
static bool is_plugin(const char *path)
{
    SCOPED(close_at) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    size_t length = strlen(path);
    char head[SELFMAG];

    if (fd < 0)
        return length > 3 && strcmp(path + length - 3, ".so") == 0;
    return read(fd, head, sizeof head) == (ssize_t)sizeof head &&
           memcmp(head, ELFMAG, SELFMAG) == 0;
}

/* The name that a conf would find the file by: without folder and ".so". */
static void name_of(const char *path, char name[MODULE_NAME_LENGTH])
{
    const char *slash = strrchr(path, '/');
    size_t length;

    (void)snprintf(name, MODULE_NAME_LENGTH, "%s", slash != NULL ? slash + 1 : path);
    length = strlen(name);
    if (length > 3 && strcmp(name + length - 3, ".so") == 0)
        name[length - 3] = '\0';
}

static void plugin_unref_at(struct plugin **plugin)
{
    plugin_unref(*plugin);
}

static bool check_laws(const struct request *request, bool *hold, struct rasad_error *error)
{
    SCOPED(plugin_unref_at) struct plugin *plugin = NULL;
    SCOPED(plugin_unref_at) struct plugin *older = NULL;
    struct probe_laws laws = {
        .seed = request->seed,
        .settings = request->settings,
        .setting_count = request->setting_count,
        .json = request->json,
    };
    char name[MODULE_NAME_LENGTH];

    name_of(request->path, name);
    if (!plugin_take(request->path, &plugin, error))
        return false;
    if (request->older != NULL && !plugin_take(request->older, &older, error))
        return false;
    laws.older = older;
    return probe_laws(plugin, name, &laws, hold, error) ||
           rasad_fail_at(error, "%s", request->path);
}

/* The report is the worker's; what kept it from being written is told here. */
static int check_plugin(const struct request *request)
{
    struct rasad_error error;
    bool hold;

    if (check_laws(request, &hold, &error))
        return hold ? EXIT_SUCCESS : EXIT_FAILURE;
    (void)fprintf(stderr, "rasadctl: %s\n", error.text);
    return EXIT_FAILURE;
}

int check_main(int argc, char *argv[])
{
    struct request request = {.seed = 1};

    if (!read_request(argc, argv, &request))
        return EX_USAGE;
    if (request.help) {
        (void)fputs(usage, stdout);
        return EX_OK;
    }
    if (request.path != NULL && is_plugin(request.path))
        return check_plugin(&request);
    if (!request.is_of_plugin)
        return check_conf(request.path);
    (void)fprintf(stderr, "rasadctl: %s is no plugin, and only one is checked with options\n%s",
                  request.path != NULL ? request.path : "the server's conf", usage);
    return EX_USAGE;
}
