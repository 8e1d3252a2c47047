/* SPDX-License-Identifier: Apache-2.0 */
/*
 * YOURS: how many samples were at most each bound of the conf's list, how many there
 * were in all, and their sum. States of one series have the same bounds, so they merge by adding,
 * in any order; a fresh state is all 0.
 */
#include <math.h>
#include <rasad/plugin.h>

/* What the conf says: the server puts each option where its row in the table below names. */
struct config {
    struct rasad_numbers bounds;
};

/* Counts that were made under other bounds mean something else: RASAD_OPTION_RESTARTS. */
static const struct rasad_option options[] = {
    RASAD_OPTION_NUMBERS(struct config, bounds, .flags = RASAD_OPTION_RESTARTS,
                         .preset = "0.001, 0.01, 0.1, 1, 10",
                         .help = "Upper bounds of the buckets, smallest first"),
};

/* What a series is: plain bytes, without pointers, that the server copies, moves and stores. */
struct state {
    double sum;
    uint64_t counts[]; /* one a bound, and one more for what is above them all */
};

/* Checks what an option table can't. The only function that might allocate. */
static bool YOURS_configure(void *config, struct rasad_error *error)
{
    const struct config *c = config;

    if (c->bounds.count < 1 || c->bounds.count > 1000)
        return rasad_fail(error, "bounds has %d numbers (write 1 to 1000)", (int)c->bounds.count);
    for (uint64_t i = 0; i < c->bounds.count; i++) {
        if (!isfinite(c->bounds.at[i]))
            return rasad_fail(error, "bounds must be finite, but one is %g", c->bounds.at[i]);
        if (i > 0 && c->bounds.at[i] <= c->bounds.at[i - 1])
            return rasad_fail(error, "bounds must rise, but %g follows %g", c->bounds.at[i],
                              c->bounds.at[i - 1]);
    }
    return true;
}

static size_t YOURS_state_size(const void *config)
{
    const struct config *c = config;

    return sizeof(struct state) + (c->bounds.count + 1) * sizeof(uint64_t);
}

static void YOURS_init(const void *config, void *state)
{
    memset(state, 0, YOURS_state_size(config));
}

/* Takes a sample, or says why not. A refusal comes before the first write. */
static bool YOURS_update(const void *config, void *state, const struct rasad_value *value,
                         struct rasad_error *error)
{
    const struct config *c = config;
    struct state *s = state;
    uint64_t i = 0;

    if (value->type != RASAD_NUMBER)
        return rasad_fail(error, "wants a number, got \"%.*s\"", (int)value->length, value->text);
    if (!isfinite(s->sum + value->number))
        return rasad_fail(error, "%g is too much for the sum", value->number);
    while (i < c->bounds.count && value->number > c->bounds.at[i])
        i++;
    s->counts[i]++;
    s->sum += value->number;
    return true;
}

/* The server keeps several states of one series, and joins them when it shows it. */
static void YOURS_merge(const void *config, void *into, const void *from)
{
    const struct config *c = config;
    struct state *a = into;
    const struct state *b = from;

    a->sum += b->sum;
    for (uint64_t i = 0; i <= c->bounds.count; i++)
        a->counts[i] += b->counts[i];
}

/* Hands out typed points; names, labels and formats are the server's. Buckets count all samples up
 * to their bound; the server adds the last one, +Inf, from the totals. */
static void YOURS_render(const void *config, const void *state, struct rasad_writer *writer)
{
    const struct config *c = config;
    const struct state *s = state;
    uint64_t count = 0;

    for (uint64_t i = 0; i < c->bounds.count; i++) {
        count += s->counts[i];
        rasad_write_bucket(writer, c->bounds.at[i], count);
    }
    rasad_write_totals(writer, count + s->counts[c->bounds.count], s->sum);
}

/* Whether bytes that come from a disk can be a state under this config. */
static bool YOURS_verify(const void *config, const void *state, size_t size)
{
    const struct state *s = state;

    return size == YOURS_state_size(config) && !isnan(s->sum);
}

RASAD_PUBLIC const struct rasad_plugin rasad_plugin = {
    RASAD_PLUGIN_HEAD, /* magic, ABI number, sizes */
    .flags = RASAD_COMMUTATIVE,
    .kind = RASAD_HISTOGRAM,
    .state_version = 1, /* raise it whenever struct state changes */
    .name = "YOURS",
    .version = "1.0",
    .help = "How many samples were at most each bound, and their sum",
    RASAD_OPTIONS(options),
    .config_size = sizeof(struct config),
    .configure = YOURS_configure,
    .state_size = YOURS_state_size,
    .init = YOURS_init,
    .update = YOURS_update,
    .merge = YOURS_merge,
    .render = YOURS_render,
    .verify = YOURS_verify,
};
