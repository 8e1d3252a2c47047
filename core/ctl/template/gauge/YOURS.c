/* SPDX-License-Identifier: Apache-2.0 */
/*
 * YOURS: the largest sample that a series has seen, up to a ceiling above which none can
 * be right. States merge by fmax(), so they may be joined in any order; a fresh state holds -inf,
 * fmax()'s neutral element, and shows nothing.
 */
#include <math.h>
#include <rasad/plugin.h>

/* What the conf says: the server puts each option where its row in the table below names. */
struct config {
    double ceiling;
};

static const struct rasad_option options[] = {
    RASAD_OPTION_NUMBER(struct config, ceiling, .preset = "inf", .help = "Refuse above this"),
};

/* What a series is: plain bytes, without pointers, that the server copies, moves and stores. */
struct state {
    double peak; /* in the sample's own unit; -inf until the first sample */
};

static size_t YOURS_state_size(const void *config)
{
    return sizeof(struct state);
}

static void YOURS_init(const void *config, void *state)
{
    *(struct state *)state = (struct state){.peak = -INFINITY};
}

/* Takes a sample, or says why not. A refusal comes before the first write. */
static bool YOURS_update(const void *config, void *state, const struct rasad_value *value,
                         struct rasad_error *error)
{
    const struct config *c = config;
    struct state *s = state;

    if (value->type != RASAD_NUMBER)
        return rasad_fail(error, "wants a number, got \"%.*s\"", (int)value->length, value->text);
    if (value->number > c->ceiling)
        return rasad_fail(error, "%g is above the ceiling, %g", value->number, c->ceiling);
    s->peak = fmax(s->peak, value->number);
    return true;
}

/* The server keeps several states of one series, and joins them when it shows it. */
static void YOURS_merge(const void *config, void *into, const void *from)
{
    struct state *a = into;
    const struct state *b = from;

    a->peak = fmax(a->peak, b->peak);
}

/* Hands out typed points; names, labels and formats are the server's. */
static void YOURS_render(const void *config, const void *state, struct rasad_writer *writer)
{
    const struct state *s = state;

    if (s->peak > -INFINITY)
        rasad_write_gauge(writer, s->peak);
}

RASAD_PUBLIC const struct rasad_plugin rasad_plugin = {
    RASAD_PLUGIN_HEAD, /* magic, ABI number, sizes */
    .flags = RASAD_COMMUTATIVE,
    .kind = RASAD_GAUGE,
    .state_version = 1, /* raise it whenever struct state changes */
    .name = "YOURS",
    .version = "1.0",
    .help = "The largest sample of a series",
    RASAD_OPTIONS(options),
    .config_size = sizeof(struct config),
    .state_size = YOURS_state_size,
    .init = YOURS_init,
    .update = YOURS_update,
    .merge = YOURS_merge,
    .render = YOURS_render,
};
