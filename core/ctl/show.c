/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The verbs that show what runs: status, and the tables.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "arguments.h"
#include "base/scoped.h"
#include "client.h"
#include "ctl.h"
#include "grid.h"
#include "output.h"

/* ---- status -------------------------------------------------------------------------------- */

/* "name value", and a gap of two blanks before all but the first of a line. */
static void add_field(struct text *out, const char *name, json_object *data, const char *member,
                      enum grid_kind kind)
{
    text_add_string(out, "  ");
    text_add_string(out, name);
    text_add_char(out, ' ');
    grid_add_value(out, output_member(data, member), kind);
}

static void add_head(struct text *out, json_object *data)
{
    text_printf(out, "rasadd %s (ABI %s)", output_string(data, "version"),
                output_string(data, "abi"));
    add_field(out, "pid", data, "pid", GRID_NUMBER);
    add_field(out, "up", data, "uptime_seconds", GRID_SECONDS);
    text_add_string(out, "\nconf     ");
    grid_add_value(out, output_member(data, "conf"), GRID_TEXT);
    text_add_string(out, "  applied ");
    grid_add_value(out, output_member(data, "conf_age_seconds"), GRID_SECONDS);
    text_add_string(out, json_object_get_boolean(output_member(data, "last_reload_successful"))
                             ? " ago\n"
                             : " ago; the last reload was refused (see: rasadctl plan)\n");
}

static void add_status(struct text *out, json_object *data)
{
    static const char *const lines[][8] = {
        {"agents", "live", "agents", "connections", "connections", "watchers", "watchers"},
        {"intake", "messages", "messages", "samples", "samples", "refused", "refused"},
        {"holds", "plugins", "plugins", "metrics", "metrics", "series", "series"},
        {"listens", "agents", "listen", "web", "http"},
    };
    unsigned long long memory =
        (unsigned long long)json_object_get_int64(output_member(data, "memory_bytes"));

    add_head(out, data);
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        text_printf(out, "%-7s", lines[i][0]);
        for (size_t k = 1; k + 1 < 8 && lines[i][k] != NULL; k += 2)
            add_field(out, lines[i][k], data, lines[i][k + 1], GRID_TEXT);
        text_add_char(out, '\n');
    }
    text_printf(out, "memory   %llu.%llu MiB\n", memory >> 20, (memory & 0xfffff) * 10 >> 20);
}

int status_main(int argc, char *argv[])
{
    static const struct arguments_rule rule = {
        .usage = "usage: rasadctl status [--json] [-S SOCKET]\n"
                 "Tells how the server does.\n",
        .takes = TAKES_JSON,
    };
    SCOPED(text_free) struct text request = {0}, out = {0};
    SCOPED(json_put_at) json_object *reply = NULL;
    struct arguments arguments;
    int status;

    if (!arguments_read(argc, argv, &rule, &arguments))
        return arguments.status;
    client_begin(&request, "status");
    status = client_ask_once(&request, CLIENT_PATIENCE_S, &reply);
    if (status != 0)
        return status;
    if (arguments.json) {
        output_json(output_member(reply, "data"));
        return 0;
    }
    add_status(&out, output_member(reply, "data"));
    return output_text(&out) ? 0 : EXIT_FAILURE;
}

/* ---- Tables -------------------------------------------------------------------------------- */

struct table {
    struct arguments_rule rule;
    const char *sorted_by; /* NULL: as it comes */
    const struct grid_column *columns;
    size_t column_count;
};

#define COLUMNS(array) .columns = (array), .column_count = sizeof(array) / sizeof *(array)

/* Asks for the rows that the arguments tell of, and prints them. */
static int show_table(int argc, char *argv[], const struct table *table)
{
    SCOPED(text_free) struct text request = {0}, out = {0};
    SCOPED(json_put_at) json_object *reply = NULL;
    struct arguments arguments;
    json_object *rows;
    int status;

    if (!arguments_read(argc, argv, &table->rule, &arguments))
        return arguments.status;
    client_begin(&request, argv[0]);
    client_add(&request, "agent", arguments.agent);
    client_add(&request, "selector", arguments.operands[0]);
    status = client_ask_once(&request, CLIENT_PATIENCE_S, &reply);
    if (status != 0)
        return status;
    rows = output_member(reply, "data");
    if (table->sorted_by != NULL)
        output_sort(rows, table->sorted_by);
    if (arguments.json) {
        output_json(rows);
        return 0;
    }
    grid_add(&out, rows, table->columns, table->column_count);
    return output_text(&out) ? 0 : EXIT_FAILURE;
}

int plugins_main(int argc, char *argv[])
{
    static const struct grid_column columns[] = {
        {"PLUGIN", "plugin", GRID_TEXT},     {"VERSION", "version", GRID_TEXT},
        {"ABI", "abi", GRID_NUMBER},         {"STATE", "state", GRID_TEXT},
        {"METRICS", "metrics", GRID_NUMBER}, {"SERIES", "series", GRID_NUMBER},
        {"SAMPLES", "samples", GRID_NUMBER}, {"REFUSED", "refused", GRID_NUMBER},
        {"ERRORS", "errors", GRID_NUMBER},   {"FILE", "file", GRID_TEXT},
    };
    static const struct table table = {
        .rule = {.usage = "usage: rasadctl plugins [--json] [-S SOCKET]\n"
                          "Lists the plugins in use.\n",
                 .takes = TAKES_JSON},
        .sorted_by = "plugin",
        COLUMNS(columns),
    };

    return show_table(argc, argv, &table);
}

int metrics_main(int argc, char *argv[])
{
    static const struct grid_column columns[] = {
        {"METRIC", "metric", GRID_TEXT},       {"KIND", "kind", GRID_TEXT},
        {"PLUGIN", "plugin", GRID_TEXT},       {"KEY", "key", GRID_TEXT},
        {"STATE", "state", GRID_TEXT},         {"SERIES", "series", GRID_NUMBER},
        {"SAMPLES", "samples", GRID_NUMBER},   {"REFUSED", "refused", GRID_NUMBER},
        {"OVERFLOW", "overflow", GRID_NUMBER}, {"HELP", "help", GRID_TEXT},
    };
    static const struct table table = {
        .rule = {.usage = "usage: rasadctl metrics [--json] [-S SOCKET]\n"
                          "Lists the metric families.\n",
                 .takes = TAKES_JSON},
        COLUMNS(columns),
    };

    return show_table(argc, argv, &table);
}

int agents_main(int argc, char *argv[])
{
    static const struct grid_column columns[] = {
        {"AGENT", "agent", GRID_TEXT},          {"ADDRESS", "address", GRID_TEXT},
        {"STATE", "state", GRID_TEXT},          {"CONNECTED", "connected_seconds", GRID_SECONDS},
        {"GONE", "gone_seconds", GRID_SECONDS}, {"LAST-SEEN", "seen_seconds_ago", GRID_SECONDS},
        {"MESSAGES", "messages", GRID_NUMBER},  {"REJECTED", "refused", GRID_NUMBER},
        {"DROPPED", "dropped", GRID_NUMBER},
    };
    static const struct table table = {
        .rule = {.usage = "usage: rasadctl agents [--json] [-S SOCKET]\n"
                          "Lists who sends, and who did until not long ago.\n",
                 .takes = TAKES_JSON},
        .sorted_by = "agent",
        COLUMNS(columns),
    };

    return show_table(argc, argv, &table);
}

int series_main(int argc, char *argv[])
{
    static const struct grid_column columns[] = {
        {"SERIES", "series", GRID_TEXT},      {"AGENT", "agent", GRID_TEXT},
        {"KIND", "kind", GRID_TEXT},          {"VALUE", "value", GRID_NUMBER},
        {"COUNT", "count", GRID_NUMBER},      {"SUM", "sum", GRID_NUMBER},
        {"AGE", "age_seconds", GRID_SECONDS},
    };
    static const struct table table = {
        .rule = {.usage =
                     "usage: rasadctl series [SELECTOR] [--agent NAME] [--json] [-S SOCKET]\n"
                     "Lists the series and their values. SELECTOR is a glob for the family's name, "
                     "with labels\nif need be: 'http_*', 'http_requests{path=\"/\"}', "
                     "'{path=\"/\"}'.\n",
                 .takes = TAKES_JSON | TAKES_AGENT,
                 .most = 1},
        .sorted_by = "series",
        COLUMNS(columns),
    };

    return show_table(argc, argv, &table);
}
