/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tally: counts samples and sums them, in as many builds as a reload can meet. STATE (1 or 2) is
 * the version of its state, of which the second has one member more; each brings the other's over,
 * but for those built with NO_MIGRATE, BAD_MIGRATE, which says no, and CRASHING_MIGRATE, which
 * crashes on a sum of 12345. With HANGING_UPDATE a sample of 12345 is never done with, with
 * HANGING_RENDER a sum of it. BUILD tells builds apart.
 */
#include <rasad/plugin.h>

#ifndef STATE
#define STATE 1
#endif
#ifndef BUILD
#define BUILD "1"
#endif

struct config {
    double unit; /* shapes states */
    double ceiling;
};

static const struct rasad_option options[] = {
    RASAD_OPTION_NUMBER(struct config, unit, .flags = RASAD_OPTION_RESTARTS, .preset = "1",
                        .help = "What a sample of 1 counts"),
    RASAD_OPTION_NUMBER(struct config, ceiling, .preset = "inf", .help = "Refuse above this"),
};

struct state {
    uint64_t count;
    uint64_t sum;
#if STATE == 2
    uint64_t most; /* the largest sample */
#endif
};

static size_t tally_state_size(const void *config)
{
    return sizeof(struct state);
}

static void tally_init(const void *config, void *state)
{
    *(struct state *)state = (struct state){0};
}

static bool tally_update(const void *config, void *state, const struct rasad_value *value,
                         struct rasad_error *error)
{
    const struct config *c = config;
    struct state *s = state;

    if (value->type != RASAD_NUMBER || value->number < 0 || value->number > c->ceiling)
        return rasad_fail(error, "wants a number from 0 to %g", c->ceiling);
#ifdef HANGING_UPDATE
    while (value->number == 12345)
        __asm__ volatile("" ::: "memory");
#endif
    s->count++;
    s->sum += (uint64_t)(value->number * c->unit);
#if STATE == 2
    if ((uint64_t)value->number > s->most)
        s->most = (uint64_t)value->number;
#endif
    return true;
}

static void tally_merge(const void *config, void *into, const void *from)
{
    struct state *a = into;
    const struct state *b = from;

    a->count += b->count;
    a->sum += b->sum;
#if STATE == 2
    if (b->most > a->most)
        a->most = b->most;
#endif
}

static void tally_render(const void *config, const void *state, struct rasad_writer *writer)
{
#ifdef HANGING_RENDER
    while (((const struct state *)state)->sum == 12345)
        __asm__ volatile("" ::: "memory");
#endif
    rasad_write_count(writer, ((const struct state *)state)->sum);
}

#if !defined NO_MIGRATE
/* Both versions begin alike. */
static bool tally_migrate(const void *config, uint32_t from_version, const void *from, size_t size,
                          void *into)
{
#ifdef BAD_MIGRATE
    return false;
#else
    if (size < 2 * sizeof(uint64_t) || (from_version != 1 && from_version != 2))
        return false;
#ifdef CRASHING_MIGRATE
    if (((const uint64_t *)from)[1] == 12345)
        __builtin_trap();
#endif
    memcpy(into, from, 2 * sizeof(uint64_t));
    return true;
#endif
}
#endif

RASAD_PUBLIC const struct rasad_plugin rasad_plugin = {
    RASAD_PLUGIN_HEAD,
    .flags = RASAD_COMMUTATIVE,
    .kind = RASAD_COUNTER,
    .state_version = STATE,
    .name = "tally",
    .version = BUILD,
    .help = "The sum of all samples",
    RASAD_OPTIONS(options),
    .config_size = sizeof(struct config),
    .state_size = tally_state_size,
    .init = tally_init,
    .update = tally_update,
    .merge = tally_merge,
    .render = tally_render,
#ifndef NO_MIGRATE
    .migrate = tally_migrate,
#endif
};
