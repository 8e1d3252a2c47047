/* SPDX-License-Identifier: Apache-2.0 */
/*
 * peak: the largest sample that a series has seen. States merge by fmax(), so shards may be
 * joined in any order; a fresh state holds -inf, fmax()'s neutral element, and renders nothing.
 */
#include <math.h>
#include <rasad/plugin.h>

struct state {
    double peak; /* in the sample's own unit; -inf until the first sample */
};

static size_t peak_state_size(const void *config)
{
    return sizeof(struct state);
}

static void peak_init(const void *config, void *state)
{
    *(struct state *)state = (struct state){.peak = -INFINITY};
}

static bool peak_update(const void *config, void *state, const struct rasad_value *value,
                        struct rasad_error *error)
{
    struct state *s = state;

    if (value->type != RASAD_NUMBER)
        return rasad_fail(error, "wants a number, got \"%.*s\"", (int)value->length, value->text);
    s->peak = fmax(s->peak, value->number);
    return true;
}

static void peak_merge(const void *config, void *into, const void *from)
{
    struct state *a = into;
    const struct state *b = from;

    a->peak = fmax(a->peak, b->peak);
}

static void peak_render(const void *config, const void *state, struct rasad_writer *writer)
{
    const struct state *s = state;

    if (s->peak > -INFINITY)
        rasad_write_gauge(writer, s->peak);
}

RASAD_PUBLIC const struct rasad_plugin rasad_plugin = {
    RASAD_PLUGIN_HEAD, /* magic, ABI number, size */
    .flags = RASAD_COMMUTATIVE,
    .name = "peak",
    .version = "1.0",
    .kind = RASAD_GAUGE,
    .help = "The largest sample of a series",
    .state_version = 1,
    .state_size = peak_state_size,
    .init = peak_init,
    .update = peak_update,
    .merge = peak_merge,
    .render = peak_render,
};
