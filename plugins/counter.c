/* SPDX-License-Identifier: Apache-2.0 */
/*
 * counter: the sum of what the samples add; it only goes up. {"requests": 1} adds 1, and so does
 * {"requests": {"add": 1}}.
 *
 * The sum is a fixed-point number, 64 bits before the point and 64 behind. So whole counts are
 * exact up to 2^64 - 1, fractions never drift however many are added (each is cut at 2^-64, 5e-20),
 * and merging is the addition of integers, which may be done in any order. A fresh state is 0. A
 * sample that would go beyond the end is refused; a merge that would stays at the end.
 */
#include <rasad/plugin.h>

struct state {
    uint64_t whole;
    uint64_t fraction; /* in units of 2^-64 */
};

static size_t counter_state_size(const void *config)
{
    return sizeof(struct state);
}

static void counter_init(const void *config, void *state)
{
    *(struct state *)state = (struct state){0};
}

/* a + b; false if it doesn't fit. */
static bool counter_sum(struct state a, struct state b, struct state *sum)
{
    bool carry = __builtin_add_overflow(a.fraction, b.fraction, &sum->fraction);

    return !__builtin_add_overflow(a.whole, b.whole, &sum->whole) &&
           !__builtin_add_overflow(sum->whole, (uint64_t)carry, &sum->whole);
}

static bool counter_update(const void *config, void *state, const struct rasad_value *value,
                           struct rasad_error *error)
{
    struct state *s = state;
    struct state added, sum;
    double whole;

    if (value->type != RASAD_NUMBER && value->type != RASAD_CHANGE)
        return rasad_fail(error, "wants a number, got \"%.*s\"", (int)value->length, value->text);
    if (!(value->number >= 0))
        return rasad_fail(error, "a counter only goes up, got %g", value->number);
    if (value->number >= 0x1p64)
        return rasad_fail(error, "%g is too much for a counter", value->number);
    added.fraction = (uint64_t)ldexp(modf(value->number, &whole), 64);
    added.whole = (uint64_t)whole;
    if (!counter_sum(*s, added, &sum))
        return rasad_fail(error, "the counter is at its end, 2^64");
    *s = sum;
    return true;
}

static void counter_merge(const void *config, void *into, const void *from)
{
    struct state *a = into;
    struct state sum;

    if (!counter_sum(*a, *(const struct state *)from, &sum))
        sum = (struct state){.whole = UINT64_MAX, .fraction = UINT64_MAX};
    *a = sum;
}

static void counter_render(const void *config, const void *state, struct rasad_writer *writer)
{
    const struct state *s = state;

    if (s->fraction == 0)
        rasad_write_count(writer, s->whole);
    else
        rasad_write_counter(writer, (double)s->whole + ldexp((double)s->fraction, -64));
}

static bool counter_verify(const void *config, const void *state, size_t size)
{
    return size == sizeof(struct state);
}

RASAD_PUBLIC const struct rasad_plugin rasad_plugin = {
    RASAD_PLUGIN_HEAD,
    .flags = RASAD_COMMUTATIVE,
    .kind = RASAD_COUNTER,
    .state_version = 1,
    .name = "counter",
    .version = "1.0",
    .help = "The sum of a series' samples, which only goes up",
    .state_size = counter_state_size,
    .init = counter_init,
    .update = counter_update,
    .merge = counter_merge,
    .render = counter_render,
    .verify = counter_verify,
};
