/* SPDX-License-Identifier: Apache-2.0 */
/*
 * histogram: how many samples fell into each of the conf's buckets, and their sum. A bound belongs
 * to the bucket below it (value <= bound), and above the last bound there is one bucket more.
 *
 * A state is one count a bucket and the sum. States of one series have the same buckets, so they
 * merge by adding, in any order; a fresh state is all 0. The counts become cumulative, as
 * Prometheus wants them, in render() only: that way a sample touches one bucket. (The sum is a
 * double: exact for whole numbers below 2^53, else right but for the last bits.)
 */
#include <rasad/plugin.h>

#define MOST_BUCKETS 1000

struct config {
    struct rasad_numbers buckets; /* upper bounds; the last may be infinite */
    uint64_t bounds;              /* how many of them are finite */
};

static const struct rasad_option options[] = {
    RASAD_OPTION_NUMBERS(struct config, buckets, .flags = RASAD_OPTION_RESTARTS,
                         .preset = "0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10",
                         .help = "The upper bounds of the buckets, inclusive, smallest first"),
};

struct state {
    double sum;
    uint64_t counts[]; /* one a bound, and the last for what is above them all */
};

static bool histogram_configure(void *config, struct rasad_error *error)
{
    struct config *c = config;
    const double *at = c->buckets.at;
    uint64_t count = c->buckets.count;

    if (count < 1 || count > MOST_BUCKETS)
        return rasad_fail(error, "buckets has %llu bounds (write 1 to %d)",
                          (unsigned long long)count, MOST_BUCKETS);
    for (uint64_t i = 0; i < count; i++) {
        if (isnan(at[i]) || at[i] == -INFINITY || (isinf(at[i]) && i + 1 < count))
            return rasad_fail(error,
                              "buckets must be finite, but one is %g (only the last may be "
                              "inf)",
                              at[i]);
        if (i > 0 && at[i] <= at[i - 1])
            return rasad_fail(error,
                              "buckets must rise, but %.15g follows %.15g (write the "
                              "smallest first)",
                              at[i], at[i - 1]);
    }
    c->bounds = isinf(at[count - 1]) ? count - 1 : count;
    return true;
}

static size_t histogram_state_size(const void *config)
{
    const struct config *c = config;

    return sizeof(struct state) + (c->bounds + 1) * sizeof(uint64_t);
}

static void histogram_init(const void *config, void *state)
{
    memset(state, 0, histogram_state_size(config));
}

/* The first bucket whose bound is not below the number. */
static uint64_t histogram_find(const struct config *c, double number)
{
    uint64_t low = 0, high = c->bounds;

    while (low < high) {
        uint64_t middle = low + (high - low) / 2;

        if (c->buckets.at[middle] < number)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static bool histogram_update(const void *config, void *state, const struct rasad_value *value,
                             struct rasad_error *error)
{
    struct state *s = state;

    if (value->type == RASAD_CHANGE)
        return rasad_fail(error, "a histogram can't be changed by \"add\" (send the value)");
    if (value->type != RASAD_NUMBER)
        return rasad_fail(error, "wants a number, got \"%.*s\"", (int)value->length, value->text);
    if (!isfinite(s->sum + value->number))
        return rasad_fail(error, "%g makes the sum infinite", value->number);
    s->counts[histogram_find(config, value->number)]++;
    s->sum += value->number;
    return true;
}

static void histogram_merge(const void *config, void *into, const void *from)
{
    const struct config *c = config;
    struct state *a = into;
    const struct state *b = from;

    a->sum += b->sum;
    for (uint64_t i = 0; i <= c->bounds; i++)
        a->counts[i] += b->counts[i];
}

static void histogram_render(const void *config, const void *state, struct rasad_writer *writer)
{
    const struct config *c = config;
    const struct state *s = state;
    uint64_t count = 0;

    for (uint64_t i = 0; i <= c->bounds; i++) {
        count += s->counts[i];
        rasad_write_bucket(writer, i < c->bounds ? c->buckets.at[i] : INFINITY, count);
    }
    rasad_write_totals(writer, count, s->sum);
}

static bool histogram_verify(const void *config, const void *state, size_t size)
{
    return size == histogram_state_size(config) && !isnan(((const struct state *)state)->sum);
}

RASAD_PUBLIC const struct rasad_plugin rasad_plugin = {
    RASAD_PLUGIN_HEAD,
    .flags = RASAD_COMMUTATIVE,
    .kind = RASAD_HISTOGRAM,
    .state_version = 1,
    .name = "histogram",
    .version = "1.0",
    .help = "How many samples fell into each bucket, and their sum",
    RASAD_OPTIONS(options),
    .config_size = sizeof(struct config),
    .configure = histogram_configure,
    .state_size = histogram_state_size,
    .init = histogram_init,
    .update = histogram_update,
    .merge = histogram_merge,
    .render = histogram_render,
    .verify = histogram_verify,
};
