/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rate: how much happens a second, smoothed over 1, 5 and 15 minutes as a load average is. A
 * sample says how much happened: {"logins": 1} one, {"logins": 250} or {"logins": {"add": 250}}
 * 250 since the sample before.
 *
 * For each window a state keeps the sum of all that happened, in which what happened t ago counts
 * e^(-t / window); divided by the window that is the rate, which starts at 0, and a steady one is
 * shown to 63 % after one window, to 95 % after three. The sums are as of the latest sample, by the
 * samples' own times: a later one decays what is there to its time, an earlier one is decayed
 * itself. So arrival plays no role, nor does the clock before render().
 *
 * Two states merge as two samples do: the sums of the older decay to the time of the newer and are
 * added. That is a sum over the samples of both, so it is associative and commutative but for
 * rounding, some 2^-53 of a sum with each step, and halves merge into the whole. A fresh state is
 * infinitely old and has no sums; it renders 0, since nothing is what has happened.
 */
#include <rasad/plugin.h>

#define NEVER INT64_MIN
#define MOST 0x1p64       /* of one sample, so no sum gets anywhere near infinity */
#define MOST_SUM 0x1p200  /* more than all samples that can come make */
#define LEAST_RATE 1e-200 /* below it doubles lose precision while they decay; shown as 0 */

static const struct {
    const char *label;
    double ns;
} windows[] = {{"1m", 60e9}, {"5m", 300e9}, {"15m", 900e9}};

enum { WINDOWS = sizeof windows / sizeof *windows };

struct state {
    int64_t time_ns; /* of the latest sample, or NEVER */
    double sums[WINDOWS];
};

static size_t rate_state_size(const void *config)
{
    return sizeof(struct state);
}

static void rate_init(const void *config, void *state)
{
    *(struct state *)state = (struct state){.time_ns = NEVER};
}

/* What is left of 1 in window `i` from one time to a later one; 1 if it isn't later. */
static double rate_left(size_t i, int64_t from_ns, int64_t to_ns)
{
    /* From NEVER on it takes all 64 bits. */
    return to_ns <= from_ns ? 1
                            : exp(-(double)((uint64_t)to_ns - (uint64_t)from_ns) / windows[i].ns);
}

/* Both sums as of the later time. */
static void rate_add(struct state *a, const struct state *b)
{
    for (size_t i = 0; i < WINDOWS; i++)
        a->sums[i] = a->sums[i] * rate_left(i, a->time_ns, b->time_ns) +
                     b->sums[i] * rate_left(i, b->time_ns, a->time_ns);
    a->time_ns = b->time_ns > a->time_ns ? b->time_ns : a->time_ns;
}

static bool rate_update(const void *config, void *state, const struct rasad_value *value,
                        struct rasad_error *error)
{
    struct state sample = {.time_ns = value->time_ns};

    if (value->type != RASAD_NUMBER && value->type != RASAD_CHANGE)
        return rasad_fail(error, "wants a number, got \"%.*s\"", (int)value->length, value->text);
    if (!(value->number >= 0))
        return rasad_fail(error, "wants how much happened, from 0, got %g", value->number);
    if (value->number >= MOST)
        return rasad_fail(error, "%g is too much for a rate", value->number);
    for (size_t i = 0; i < WINDOWS; i++)
        sample.sums[i] = value->number;
    rate_add(state, &sample);
    return true;
}

static void rate_merge(const void *config, void *into, const void *from)
{
    rate_add(into, from);
}

static void rate_render(const void *config, const void *state, struct rasad_writer *writer)
{
    const struct state *s = state;

    for (size_t i = 0; i < WINDOWS; i++) {
        double rate = s->sums[i] * rate_left(i, s->time_ns, writer->now_ns) / (windows[i].ns / 1e9);

        rasad_write_label(writer, "window", windows[i].label);
        rasad_write_gauge(writer, rate >= LEAST_RATE ? rate : 0);
    }
}

static bool rate_verify(const void *config, const void *state, size_t size)
{
    const struct state *s = state;
    bool fine = size == sizeof *s;

    for (size_t i = 0; fine && i < WINDOWS; i++)
        fine = s->sums[i] >= 0 && s->sums[i] <= MOST_SUM; /* NaN is neither */
    return fine;
}

RASAD_PUBLIC const struct rasad_plugin rasad_plugin = {
    RASAD_PLUGIN_HEAD,
    .flags = RASAD_COMMUTATIVE | RASAD_APPROXIMATE,
    .kind = RASAD_GAUGE,
    .state_version = 1,
    .name = "rate",
    .version = "1.0",
    .help = "How much happens a second, over 1, 5 and 15 minutes",
    .state_size = rate_state_size,
    .init = rate_init,
    .update = rate_update,
    .merge = rate_merge,
    .render = rate_render,
    .verify = rate_verify,
};
