/* SPDX-License-Identifier: Apache-2.0 */
/*
 * check_state: opens FOLDER/state as the server does, and says whether what is in it fits together,
 * and whether what was acknowledged is there. test_server.py's senders number their messages from
 * 1, and message k is {"C": {"add": 1, "labels": {"path": "P"}}, "N": 1, "G": k}, with k mod PATHS
 * for P. So of an agent whose stream has reached n, N is n, G too, and the paths of C sum up to it.
 *
 *     check_state FOLDER NOTE    with the notes "acked AGENT N" in $RASAD_IMAGE_NOTES
 */
#include <err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "store/store.h"

/* Exit codes. */
enum { WELL, LOST = 3, INCONSISTENT = 4, UNUSABLE = 5 };

#define MOST_AGENTS 16
#define PATHS 5
#define LABEL_HEAD 2 /* in front of a label's value, see series_labels() */

/* The first words of the plugins' states. */
struct counter {
    uint64_t whole, fraction;
};

struct gauge {
    int64_t set_ns;
    double set, since;
};

struct agent {
    char name[64];
    uint64_t applied, acked;
    uint64_t c[PATHS], n;
    double g;
};

static struct agent agents[MOST_AGENTS];
static size_t agent_count;
static char families[64]; /* a letter for each layout */

static struct agent *find(const char *name, size_t length)
{
    for (size_t i = 0; i < agent_count; i++) {
        if (strlen(agents[i].name) == length && memcmp(agents[i].name, name, length) == 0)
            return &agents[i];
    }
    if (agent_count == MOST_AGENTS || length >= sizeof agents->name)
        errx(INCONSISTENT, "who is \"%.*s\"?", (int)length, name);
    memcpy(agents[agent_count].name, name, length);
    return &agents[agent_count++];
}

/* ---- What the store has -------------------------------------------------------------------- */

static bool take_layout(void *context, uint32_t id, const struct record_layout *layout)
{
    if (id >= sizeof families || strlen(layout->name) != 1)
        errx(INCONSISTENT, "layout %u of \"%s\"", id, layout->name);
    families[id] = layout->name[0];
    return true;
}

static uint64_t count_of(const struct record_series *series)
{
    struct counter counter;

    if (series->state_size != sizeof counter)
        errx(INCONSISTENT, "a counter of %u bytes", series->state_size);
    memcpy(&counter, series->state, sizeof counter);
    return counter.whole;
}

static double value_of(const struct record_series *series)
{
    struct gauge gauge;

    if (series->state_size < sizeof gauge)
        errx(INCONSISTENT, "a gauge of %u bytes", series->state_size);
    memcpy(&gauge, series->state, sizeof gauge);
    return gauge.set + gauge.since;
}

static unsigned path_of(const struct record_series *series)
{
    unsigned path =
        series->labels_size == LABEL_HEAD + 1 ? (unsigned)series->labels[LABEL_HEAD] - '0' : PATHS;

    if (path >= PATHS)
        errx(INCONSISTENT, "labels of %u bytes", series->labels_size);
    return path;
}

static bool take_series(void *context, uint64_t id, const struct record_series *series,
                        struct rasad_error *error)
{
    char family = series->layout < sizeof families ? families[series->layout] : '\0';
    struct agent *agent = find(series->agent, series->agent_length);

    if (family == 'C')
        agent->c[path_of(series)] += count_of(series);
    else if (family == 'N')
        agent->n += count_of(series);
    else if (family == 'G')
        agent->g = value_of(series);
    else
        errx(INCONSISTENT, "series %llu has no layout", (unsigned long long)id);
    return true;
}

static bool take_stream(void *context, const struct record_stream *stream,
                        struct rasad_error *error)
{
    find(stream->agent, stream->agent_length)->applied += stream->applied;
    return true;
}

/* ---- What it should have ------------------------------------------------------------------- */

static void read_notes(void)
{
    const char *path = getenv("RASAD_IMAGE_NOTES");
    FILE *notes = path != NULL ? fopen(path, "r") : NULL;
    unsigned long long acked;
    char name[64];

    if (notes == NULL)
        errx(2, "no notes");
    while (fscanf(notes, "acked %63s %llu\n", name, &acked) == 2)
        find(name, strlen(name))->acked = acked;
    if (!feof(notes))
        errx(2, "notes of another kind");
    (void)fclose(notes);
}

/* How many of the messages up to n have this path. */
static uint64_t share(uint64_t n, unsigned path)
{
    return (n + PATHS - path) / PATHS - (path == 0 ? 1 : 0);
}

static void check(const struct agent *agent)
{
    uint64_t n = agent->applied;

    if (agent->n != n || agent->g != (double)n)
        errx(INCONSISTENT, "%s has applied %llu, N is %llu, G %.17g", agent->name,
             (unsigned long long)n, (unsigned long long)agent->n, agent->g);
    for (unsigned path = 0; path < PATHS; path++) {
        if (agent->c[path] != share(n, path))
            errx(INCONSISTENT, "%s has applied %llu, C of path %u is %llu", agent->name,
                 (unsigned long long)n, path, (unsigned long long)agent->c[path]);
    }
    if (n < agent->acked)
        errx(LOST, "%s has applied %llu, and %llu were acknowledged", agent->name,
             (unsigned long long)n, (unsigned long long)agent->acked);
}

/* It can be written to as well. */
static bool goes_on(struct store *store, struct rasad_error *error)
{
    uint64_t commits = store_commits(store);

    return store_write(store, NULL, false, clock_steady_ns(), error) &&
           store_commits(store) == commits + 1;
}

int main(int count, char **arguments)
{
    const struct log log = log_make(2, NULL);
    struct rasad_error error = {""};
    struct store *store;
    char folder[4096];

    if (count != 3)
        errx(2, "check_state FOLDER NOTE");
    read_notes();
    (void)snprintf(folder, sizeof folder, "%s/state", arguments[1]);
    if (!store_open(folder, false, (struct store_progress){.tell = NULL}, &log, clock_steady_ns(),
                    &store, &error) ||
        !store_each_layout(store, take_layout, NULL) ||
        !store_each_series(store, take_series, NULL, &error) ||
        !store_each_stream(store, take_stream, NULL, &error) || !goes_on(store, &error))
        errx(UNUSABLE, "%s", error.text);
    store_close(store);
    for (size_t i = 0; i < agent_count; i++)
        check(&agents[i]);
    return WELL;
}
