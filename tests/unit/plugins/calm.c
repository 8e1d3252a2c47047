/* SPDX-License-Identifier: Apache-2.0 */
/* A counter that keeps every law, and crashes on the text "null", which no law's test comes upon.
 */
#include <rasad/plugin.h>

struct state {
    uint64_t count;
};

static volatile int *volatile null;

static size_t calm_state_size(const void *config)
{
    return sizeof(struct state);
}

static void calm_init(const void *config, void *state)
{
    *(struct state *)state = (struct state){0};
}

static bool calm_update(const void *config, void *state, const struct rasad_value *value,
                        struct rasad_error *error)
{
    struct state *s = state;

    if (value->type == RASAD_TEXT && strcmp(value->text, "null") == 0)
        *null = 1;
    s->count++;
    return true;
}

static void calm_merge(const void *config, void *into, const void *from)
{
    struct state *a = into;
    const struct state *b = from;

    a->count += b->count;
}

static void calm_render(const void *config, const void *state, struct rasad_writer *writer)
{
    rasad_write_count(writer, ((const struct state *)state)->count);
}

RASAD_PUBLIC const struct rasad_plugin rasad_plugin = {
    RASAD_PLUGIN_HEAD,     .flags = RASAD_COMMUTATIVE,    .name = NAME,
    .version = "1.0",      .kind = RASAD_COUNTER,         .help = "Counts samples",
    .state_version = 1,    .state_size = calm_state_size, .init = calm_init,
    .update = calm_update, .merge = calm_merge,           .render = calm_render,
};
