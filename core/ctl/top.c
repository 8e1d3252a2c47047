/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The verb top: the agents and their rates, the busiest first, anew each second: on a terminal in
 * place, elsewhere one batch below the other.
 */
#include <errno.h>
#include <math.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <termios.h>
#include <unistd.h>

#include "arguments.h"
#include "base/clock.h"
#include "base/scoped.h"
#include "client.h"
#include "ctl.h"
#include "grid.h"
#include "output.h"

#define INTERVAL_NS NS_PER_S

static const struct grid_column columns[] = {
    {"AGENT", "agent", GRID_TEXT},          {"ADDRESS", "address", GRID_TEXT},
    {"MSG/S", "message_rate", GRID_NUMBER}, {"REJ/S", "refused_rate", GRID_NUMBER},
    {"MESSAGES", "messages", GRID_NUMBER},  {"LAST", "seen_seconds_ago", GRID_SECONDS},
    {"STATE", "state", GRID_TEXT},
};

struct top {
    struct client client;
    bool json;
    bool draws;            /* in place: standard output is a terminal */
    bool listens;          /* for a key: standard input is one */
    struct termios before; /* what it was like */
    int signals;           /* signalfd */
    json_object *last;     /* the rows of the last time by their agents; NULL at first */
    int64_t last_ns;
    struct text out;
};

static void top_close(struct top *top)
{
    if (top->listens)
        (void)tcsetattr(STDIN_FILENO, TCSANOW, &top->before);
    (void)json_object_put(top->last);
    client_close(&top->client);
    text_free(&top->out);
    close_at(&top->signals);
}

/* Keys come at once and aren't shown; Ctrl+C comes as a read, so that all is put back first. */
static void prepare_terminal(struct top *top)
{
    struct termios raw;
    sigset_t wanted;

    (void)sigemptyset(&wanted);
    (void)sigaddset(&wanted, SIGINT);
    (void)sigaddset(&wanted, SIGTERM);
    (void)sigaddset(&wanted, SIGHUP);
    (void)sigprocmask(SIG_BLOCK, &wanted, NULL);
    top->signals = signalfd(-1, &wanted, SFD_CLOEXEC);
    top->draws = isatty(STDOUT_FILENO) && !top->json;
    if (!top->draws || !isatty(STDIN_FILENO) || tcgetattr(STDIN_FILENO, &top->before) != 0)
        return;
    raw = top->before;
    raw.c_lflag &= (tcflag_t) ~(ICANON | ECHO);
    top->listens = tcsetattr(STDIN_FILENO, TCSANOW, &raw) == 0;
}

/* ---- Rates --------------------------------------------------------------------------------- */

/* How much more it is than the last time, a second, to a tenth. */
static void add_rate(json_object *row, json_object *before, const char *member, const char *rate,
                     double seconds)
{
    int64_t now = json_object_get_int64(output_member(row, member));
    int64_t then = json_object_get_int64(output_member(before, member));
    double per_second = now > then && seconds > 0 ? (double)(now - then) / seconds : 0;

    (void)json_object_object_add(row, rate, json_object_new_double(round(per_second * 10) / 10));
}

/* Adds the rates since the last time, and notes this one. False the first time. */
static bool add_rates(struct top *top, json_object *rows)
{
    int64_t now_ns = clock_steady_ns();
    double seconds = (double)(now_ns - top->last_ns) / 1e9;
    json_object *next = json_object_new_object();
    bool has_rates = top->last != NULL;

    for (size_t i = 0; i < json_object_array_length(rows); i++) {
        json_object *row = json_object_array_get_idx(rows, i);
        const char *agent = output_string(row, "agent");

        if (has_rates) { /* one who has just come had nothing before */
            json_object *before = output_member(top->last, agent);

            add_rate(row, before, "messages", "message_rate", seconds);
            add_rate(row, before, "refused", "refused_rate", seconds);
        }
        (void)json_object_object_add(next, agent, json_object_get(row));
    }
    (void)json_object_put(top->last);
    top->last = next;
    top->last_ns = now_ns;
    return has_rates;
}

static int compare_rates(const void *a, const void *b)
{
    json_object *one = *(json_object *const *)a, *other = *(json_object *const *)b;
    double rate = json_object_get_double(output_member(one, "message_rate"));
    double other_rate = json_object_get_double(output_member(other, "message_rate"));

    if (rate != other_rate)
        return rate > other_rate ? -1 : 1;
    return strcmp(output_string(one, "agent"), output_string(other, "agent"));
}

/* ---- The screen ---------------------------------------------------------------------------- */

/* The terminal's size; a large one if it can't be told. */
static struct winsize get_size(void)
{
    struct winsize size = {.ws_row = 0};

    if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_row < 2 || size.ws_col < 2)
        size = (struct winsize){.ws_row = 24, .ws_col = 80};
    return size;
}

/* How many bytes of the line fit into so many cells. */
static size_t fitting(const char *line, size_t length, size_t cells)
{
    size_t fit = 0;

    while (fit < length) {
        size_t next = fit + 1;

        while (next < length && ((unsigned char)line[next] & 0xc0) == 0x80)
            next++;
        if (grid_width(line, next) > cells)
            break;
        fit = next;
    }
    return fit;
}

/* Draws the lines over what was there before, as many and as far as the terminal has room. */
static bool draw(const struct text *lines)
{
    SCOPED(text_free) struct text screen = {0};
    struct winsize size = get_size();
    const char *at = lines->at, *end = lines->at + lines->length;

    text_add_string(&screen, "\033[H");
    for (int row = 0; row + 1 < size.ws_row && at < end; row++) {
        const char *feed = memchr(at, '\n', (size_t)(end - at));

        text_add(&screen, at, fitting(at, (size_t)(feed - at), size.ws_col));
        text_add_string(&screen, "\033[K\n");
        at = feed + 1;
    }
    text_add_string(&screen, "\033[J");
    return output_text(&screen);
}

/* Shows the rows in one way or another; false if nobody looks any more. */
static bool show(struct top *top, json_object *rows)
{
    double messages = 0, refused = 0;

    json_object_array_sort(rows, compare_rates);
    if (top->json) {
        output_json(rows);
        return !output_is_closed();
    }
    for (size_t i = 0; i < json_object_array_length(rows); i++) {
        json_object *row = json_object_array_get_idx(rows, i);

        messages += json_object_get_double(output_member(row, "message_rate"));
        refused += json_object_get_double(output_member(row, "refused_rate"));
    }
    text_clear(&top->out);
    text_printf(&top->out, "%zu agents  %.1f messages/s  %.1f refused/s%s\n",
                json_object_array_length(rows), messages, refused,
                top->listens ? "  (q quits)" : "");
    grid_add(&top->out, rows, columns, sizeof columns / sizeof *columns);
    if (top->draws)
        return draw(&top->out);
    text_add_char(&top->out, '\n');
    return output_text(&top->out);
}

/* ---- The loop ------------------------------------------------------------------------------ */

/* Waits until then. False if somebody wants the end before. */
static bool wait_until(const struct top *top, int64_t then_ns)
{
    for (;;) {
        struct pollfd polled[] = {
            {.fd = top->signals, .events = POLLIN},
            {.fd = STDOUT_FILENO},
            {.fd = top->listens ? STDIN_FILENO : -1, .events = POLLIN},
        };
        int64_t left_ns = then_ns - clock_steady_ns();
        char key = '\0';

        if (left_ns <= 0)
            return true;
        if (poll(polled, 3, (int)(left_ns / NS_PER_MS) + 1) < 0 && errno != EINTR)
            return false;
        if (polled[0].revents != 0 || polled[1].revents != 0)
            return false;
        if (polled[2].revents != 0 && (read(STDIN_FILENO, &key, 1) != 1 || key == 'q'))
            return false;
    }
}

static int ask_agents(struct top *top, json_object **reply)
{
    SCOPED(text_free) struct text request = {0};

    client_begin(&request, "agents");
    return client_ask(&top->client, &request, reply);
}

/* Shows so many batches (0: without end). */
static int run(struct top *top, long count)
{
    int64_t next_ns = clock_steady_ns();
    int status;

    for (;;) {
        SCOPED(json_put_at) json_object *reply = NULL;
        json_object *rows;

        status = ask_agents(top, &reply);
        if (status != 0)
            return status;
        rows = output_member(reply, "data");
        if (add_rates(top, rows)) {
            if (!show(top, rows) || (count > 0 && --count == 0))
                return 0;
        }
        next_ns += INTERVAL_NS;
        if (!wait_until(top, next_ns))
            return 0;
    }
}

int top_main(int argc, char *argv[])
{
    static const struct arguments_rule rule = {
        .usage =
            "usage: rasadctl top [-n|--count COUNT] [--json] [-S SOCKET]\n"
            "Shows the agents and their rates, the busiest first, each second; COUNT times, or "
            "until q or Ctrl+C.\n",
        .takes = TAKES_JSON | TAKES_COUNT,
    };
    SCOPED(top_close) struct top top = {.client = {.fd = -1}, .signals = -1};
    struct arguments arguments;
    int status;

    if (!arguments_read(argc, argv, &rule, &arguments))
        return arguments.status;
    top.json = arguments.json;
    status = client_open(&top.client);
    if (status != 0)
        return status;
    prepare_terminal(&top);
    if (top.draws)
        (void)fputs("\033[2J", stdout);
    return run(&top, arguments.count);
}
