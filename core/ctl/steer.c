/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The verbs plan, reload and upgrade.
 */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "arguments.h"
#include "base/scoped.h"
#include "client.h"
#include "ctl.h"
#include "grid.h"
#include "output.h"

/* The server has another folder than we. */
static bool make_absolute(const char *file, struct text *path)
{
    char folder[PATH_MAX];

    if (file[0] != '/') {
        if (getcwd(folder, sizeof folder) == NULL) {
            (void)fprintf(stderr, "rasadctl: cannot tell the present folder: %s\n",
                          strerror(errno));
            return false;
        }
        text_printf(path, "%s/", folder);
    }
    text_add_string(path, file);
    return true;
}

/* Asks, and prints what becomes of each metric. */
static int steer(const struct arguments *arguments, struct text *request)
{
    static const struct grid_column columns[] = {
        {"METRIC", "metric", GRID_TEXT},
        {"ACTION", "action", GRID_TEXT},
        {"WHY", "detail", GRID_TEXT},
    };
    SCOPED(text_free) struct text out = {0};
    SCOPED(json_put_at) json_object *reply = NULL;
    int status = client_ask_once(request, CLIENT_LONG_PATIENCE_S, &reply);

    if (status != 0)
        return status;
    if (arguments->json) {
        output_json(output_member(reply, "data"));
        return 0;
    }
    grid_add(&out, output_member(reply, "data"), columns, sizeof columns / sizeof *columns);
    return output_text(&out) ? 0 : EXIT_FAILURE;
}

int plan_main(int argc, char *argv[])
{
    static const struct arguments_rule rule = {
        .usage = "usage: rasadctl plan [FILE] [--json] [-S SOCKET]\n"
                 "Tells what a reload would do with each metric, and does nothing. FILE stands in "
                 "for the server's\nown conf; the server reads it.\n",
        .takes = TAKES_JSON,
        .most = 1,
    };
    SCOPED(text_free) struct text request = {0}, path = {0};
    struct arguments arguments;

    if (!arguments_read(argc, argv, &rule, &arguments))
        return arguments.status;
    client_begin(&request, "plan");
    if (arguments.operand_count > 0) {
        if (!make_absolute(arguments.operands[0], &path))
            return EXIT_FAILURE;
        client_add(&request, "file", text_end(&path));
    }
    return steer(&arguments, &request);
}

int reload_main(int argc, char *argv[])
{
    static const struct arguments_rule rule = {
        .usage = "usage: rasadctl reload [--json] [-S SOCKET]\n"
                 "Applies the changed conf and changed plugins: all of it, or with the reasons "
                 "nothing of it.\n",
        .takes = TAKES_JSON,
    };
    SCOPED(text_free) struct text request = {0};
    struct arguments arguments;

    if (!arguments_read(argc, argv, &rule, &arguments))
        return arguments.status;
    client_begin(&request, "reload");
    return steer(&arguments, &request);
}

/* Says what the new program said. */
static int print_upgrade(json_object *data)
{
    SCOPED(text_free) struct text out = {0};

    text_printf(&out, "upgraded from %s to %s: %lld connections kept, paused for %.1f ms\n",
                output_string(data, "from"), output_string(data, "version"),
                (long long)json_object_get_int64(output_member(data, "connections")),
                json_object_get_double(output_member(data, "paused_seconds")) * 1e3);
    return output_text(&out) ? 0 : EXIT_FAILURE;
}

int upgrade_main(int argc, char *argv[])
{
    static const struct arguments_rule rule = {
        .usage = "usage: rasadctl upgrade [--json] [-S SOCKET]\n"
                 "Runs the installed rasadd in the place of the running one, which keeps its "
                 "process id, connections\nand counts; or, if the new one can't take over, tells "
                 "why, and the running one goes on.\n",
        .takes = TAKES_JSON,
    };
    SCOPED(text_free) struct text request = {0};
    SCOPED(json_put_at) json_object *reply = NULL;
    struct arguments arguments;
    int status;

    if (!arguments_read(argc, argv, &rule, &arguments))
        return arguments.status;
    client_begin(&request, "upgrade");
    status = client_ask_once(&request, CLIENT_LONG_PATIENCE_S, &reply);
    if (status != 0)
        return status;
    if (!arguments.json)
        return print_upgrade(output_member(reply, "data"));
    output_json(output_member(reply, "data"));
    return 0;
}
