/* SPDX-License-Identifier: Apache-2.0 */
/*
 * YOURS: the sum of a series' samples, of which those below a threshold are noise and
 * add nothing; it only goes up. States merge by adding, so they may be joined in any order; a fresh
 * state is 0.
 */
#include <math.h>
#include <rasad/plugin.h>

/* What the conf says: the server puts each option where its row in the table below names. */
struct config {
    double threshold;
};

/* A sum made under one threshold can't go on under another: RASAD_OPTION_RESTARTS. */
static const struct rasad_option options[] = {
    RASAD_OPTION_NUMBER(struct config, threshold, .flags = RASAD_OPTION_RESTARTS, .preset = "0",
                        .min = "0", .help = "Smaller samples add nothing"),
};

/* What a series is: plain bytes, without pointers, that the server copies, moves and stores. */
struct state {
    double sum; /* never negative */
};

static size_t YOURS_state_size(const void *config)
{
    return sizeof(struct state);
}

static void YOURS_init(const void *config, void *state)
{
    *(struct state *)state = (struct state){0};
}

/* Takes a sample, or says why not. A refusal comes before the first write. */
static bool YOURS_update(const void *config, void *state, const struct rasad_value *value,
                         struct rasad_error *error)
{
    const struct config *c = config;
    struct state *s = state;

    /* {"key": 2} and {"key": {"add": 2}} mean the same to a counter. */
    if (value->type != RASAD_NUMBER && value->type != RASAD_CHANGE)
        return rasad_fail(error, "wants a number, got \"%.*s\"", (int)value->length, value->text);
    if (!(value->number >= 0))
        return rasad_fail(error, "a counter only goes up, got %g", value->number);
    if (!isfinite(s->sum + value->number))
        return rasad_fail(error, "%g is too much for the sum", value->number);
    if (value->number >= c->threshold)
        s->sum += value->number;
    return true;
}

/* The server keeps several states of one series, and joins them when it shows it. */
static void YOURS_merge(const void *config, void *into, const void *from)
{
    struct state *a = into;
    const struct state *b = from;

    a->sum += b->sum;
}

/* Hands out typed points; names, labels and formats are the server's. */
static void YOURS_render(const void *config, const void *state, struct rasad_writer *writer)
{
    const struct state *s = state;

    rasad_write_counter(writer, s->sum);
}

/* Whether bytes that come from a disk can be a state. */
static bool YOURS_verify(const void *config, const void *state, size_t size)
{
    const struct state *s = state;

    return size == sizeof *s && s->sum >= 0;
}

RASAD_PUBLIC const struct rasad_plugin rasad_plugin = {
    RASAD_PLUGIN_HEAD, /* magic, ABI number, sizes */
    .flags = RASAD_COMMUTATIVE,
    .kind = RASAD_COUNTER,
    .state_version = 1, /* raise it whenever struct state changes */
    .name = "YOURS",
    .version = "1.0",
    .help = "The sum of the samples that reach a threshold",
    RASAD_OPTIONS(options),
    .config_size = sizeof(struct config),
    .state_size = YOURS_state_size,
    .init = YOURS_init,
    .update = YOURS_update,
    .merge = YOURS_merge,
    .render = YOURS_render,
    .verify = YOURS_verify,
};
