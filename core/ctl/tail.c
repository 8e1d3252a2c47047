/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The verb tail: samples as they come, and what becomes of them.
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "arguments.h"
#include "base/scoped.h"
#include "client.h"
#include "ctl.h"
#include "grid.h"
#include "output.h"

/* Names shorter than this stand below each other. */
#define AGENT_WIDTH 12

struct tail {
    struct client client;
    bool json;
    long left; /* to be shown; 0 once all are, negative for ever */
    unsigned long long shown, skipped;
    struct text out;
};

static void tail_close(struct tail *tail)
{
    client_close(&tail->client);
    text_free(&tail->out);
}

/* Wall seconds as local time, to the millisecond. */
static void add_time(struct text *out, double seconds)
{
    long long ms = (long long)(seconds * 1e3 + 0.5);
    time_t whole = (time_t)(ms / 1000);
    struct tm local;
    char shown[16];

    if (localtime_r(&whole, &local) == NULL || strftime(shown, sizeof shown, "%T", &local) == 0)
        return;
    text_printf(out, "%s.%03d  ", shown, (int)(ms % 1000));
}

static void add_agent(struct text *out, json_object *verdict)
{
    size_t start = out->length, width;

    grid_add_value(out, output_member(verdict, "agent"), GRID_TEXT);
    width = grid_width(out->at + start, out->length - start);
    text_printf(out, "%*s  ", width < AGENT_WIDTH ? (int)(AGENT_WIDTH - width) : 0, "");
}

static void show(struct tail *tail, json_object *line)
{
    json_object *skipped = output_member(line, "skipped");

    if (skipped != NULL)
        tail->skipped += (unsigned long long)json_object_get_int64(skipped);
    else
        tail->shown++;
    if (skipped == NULL && tail->left > 0)
        tail->left--;
    if (tail->json) {
        output_json(line);
        return;
    }
    if (skipped != NULL) {
        text_printf(&tail->out, "(%s skipped)\n", json_object_get_string(skipped));
        return;
    }
    add_time(&tail->out, json_object_get_double(output_member(line, "time")));
    add_agent(&tail->out, line);
    output_add_verdict(&tail->out, line, true);
    text_add_char(&tail->out, '\n');
}

/* Waits for a line; false if nobody is left to read what we print. */
static bool wait_line(const struct tail *tail)
{
    struct pollfd polled[] = {
        {.fd = tail->client.fd, .events = POLLIN},
        {.fd = STDOUT_FILENO}, /* tells when its reader has gone */
    };

    if (client_has_line(&tail->client))
        return true;
    while (poll(polled, 2, -1) < 0 && errno == EINTR)
        continue;
    return polled[1].revents == 0;
}

/* All lines that are there already, and at least one. */
static int show_some(struct tail *tail)
{
    int status = 0;

    text_clear(&tail->out);
    do {
        json_object *line;

        status = client_read(&tail->client, &line);
        if (status != 0)
            break;
        show(tail, line);
        (void)json_object_put(line);
    } while (tail->left != 0 && client_has_line(&tail->client));
    return output_text(&tail->out) || status != 0 ? status : EXIT_FAILURE;
}

int tail_main(int argc, char *argv[])
{
    static const struct arguments_rule rule = {
        .usage =
            "usage: rasadctl tail [--agent NAME] [--key GLOB] [--rejected] [-n|--count COUNT]\n"
            "                     [--json] [-S SOCKET]\n"
            "Shows samples as they come, and what becomes of them: of one agent, of the keys that\n"
            "match, only those that are refused; COUNT of them, or until Ctrl+C.\n",
        .takes = TAKES_JSON | TAKES_AGENT | TAKES_KEY | TAKES_REJECTED | TAKES_COUNT,
    };
    SCOPED(text_free) struct text request = {0};
    SCOPED(json_put_at) json_object *reply = NULL;
    SCOPED(tail_close) struct tail tail = {.client = {.fd = -1}};
    struct arguments arguments;
    int status;

    if (!arguments_read(argc, argv, &rule, &arguments))
        return arguments.status;
    tail.json = arguments.json;
    tail.left = arguments.count > 0 ? arguments.count : -1;
    client_begin(&request, "tail");
    client_add(&request, "agent", arguments.agent);
    client_add(&request, "key", arguments.key);
    if (arguments.rejected)
        text_add_string(&request, ",\"rejected\":true");
    status = client_open(&tail.client);
    if (status == 0)
        status = client_ask(&tail.client, &request, &reply);
    tail.client.patience_s = 0;
    while (status == 0 && tail.left != 0 && wait_line(&tail))
        status = show_some(&tail);
    if (status == 0 && tail.left == 0)
        (void)fprintf(stderr, "(%llu shown, %llu skipped)\n", tail.shown, tail.skipped);
    return status;
}
