/* SPDX-License-Identifier: Apache-2.0 */
/*
 * gauge: the latest value that a series was set to, and what {"add": x} has changed since.
 *
 * Within one state the sender's order is kept: a set replaces what was there unless it was taken
 * before the set that is known (the later sample wins, not the later arrival), and a change always
 * adds to what is known. Before anything is set the value counts from 0; a gauge that nobody ever
 * set or changed renders nothing.
 *
 * States merge by the stamp of their sets: the later set wins, with the changes made on it; of two
 * in the same nanosecond the greater (set, since). Changes made where no set was known are `loose`:
 * they sum up, and count on top of the winning set if all of them came after it, else not at all.
 * Maximum, sum and minimum are each associative and commutative with the fresh state as neutral
 * element, so the whole is. And of two halves of a sequence in time order the second's loose
 * changes add to the first's set, and the first's are overwritten by the second's set, as in one
 * sequence. What fixed bytes can't do is weave: where several senders share a series, those that
 * only change it count only if they began after its last set.
 */
#include <rasad/plugin.h>

#define NEVER_SET INT64_MIN
#define NEVER_CHANGED INT64_MAX

struct state {
    int64_t set_ns;         /* when the sample of the last set was taken, or NEVER_SET */
    double set;             /* what it was set to */
    double since;           /* the sum of the changes that this state saw after it */
    int64_t loose_first_ns; /* the earliest of the loose changes, or NEVER_CHANGED */
    double loose;           /* their sum */
};

static size_t gauge_state_size(const void *config)
{
    return sizeof(struct state);
}

static void gauge_init(const void *config, void *state)
{
    *(struct state *)state = (struct state){.set_ns = NEVER_SET, .loose_first_ns = NEVER_CHANGED};
}

static void gauge_set(struct state *s, double number, int64_t time_ns)
{
    if (time_ns < s->set_ns)
        return;
    s->set_ns = time_ns;
    s->set = number;
    s->since = 0;
    if (s->loose_first_ns <= time_ns) {
        s->loose_first_ns = NEVER_CHANGED;
        s->loose = 0;
    }
}

static void gauge_change(struct state *s, double difference, int64_t time_ns)
{
    if (s->set_ns != NEVER_SET) {
        s->since += difference;
        return;
    }
    s->loose += difference;
    if (time_ns < s->loose_first_ns)
        s->loose_first_ns = time_ns;
}

static bool gauge_update(const void *config, void *state, const struct rasad_value *value,
                         struct rasad_error *error)
{
    struct state *s = state;

    if (value->type == RASAD_NUMBER) {
        gauge_set(s, value->number, value->time_ns);
        return true;
    }
    if (value->type == RASAD_CHANGE) {
        if (!isfinite(s->since + value->number) || !isfinite(s->loose + value->number))
            return rasad_fail(error, "adding %g makes it infinite", value->number);
        gauge_change(s, value->number, value->time_ns);
        return true;
    }
    return rasad_fail(error, "wants a number, got \"%.*s\"", (int)value->length, value->text);
}

/* Whether b's set wins over a's. */
static bool gauge_is_later(const struct state *a, const struct state *b)
{
    if (a->set_ns != b->set_ns)
        return b->set_ns > a->set_ns;
    if (a->set != b->set)
        return b->set > a->set;
    return b->since > a->since;
}

static void gauge_merge(const void *config, void *into, const void *from)
{
    struct state *a = into;
    const struct state *b = from;

    if (gauge_is_later(a, b)) {
        a->set_ns = b->set_ns;
        a->set = b->set;
        a->since = b->since;
    }
    if (b->loose_first_ns < a->loose_first_ns)
        a->loose_first_ns = b->loose_first_ns;
    a->loose += b->loose;
}

static void gauge_render(const void *config, const void *state, struct rasad_writer *writer)
{
    const struct state *s = state;
    bool changed = s->loose_first_ns != NEVER_CHANGED;

    if (s->set_ns != NEVER_SET || changed)
        rasad_write_gauge(writer,
                          s->set + s->since + (s->loose_first_ns >= s->set_ns ? s->loose : 0));
}

static bool gauge_verify(const void *config, const void *state, size_t size)
{
    const struct state *s = state;

    return size == sizeof *s && (s->set_ns != NEVER_SET || (s->set == 0 && s->since == 0)) &&
           (s->loose_first_ns != NEVER_CHANGED || s->loose == 0);
}

RASAD_PUBLIC const struct rasad_plugin rasad_plugin = {
    RASAD_PLUGIN_HEAD,
    .flags = RASAD_COMMUTATIVE,
    .kind = RASAD_GAUGE,
    .state_version = 1,
    .name = "gauge",
    .version = "1.0",
    .help = "The latest value of a series",
    .state_size = gauge_state_size,
    .init = gauge_init,
    .update = gauge_update,
    .merge = gauge_merge,
    .render = gauge_render,
    .verify = gauge_verify,
};
