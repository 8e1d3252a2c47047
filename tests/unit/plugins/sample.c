/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sample: a plugin with an option of every type, for the tests of the conf. It counts samples;
 * with PRESET and BOUND its table can be spoilt.
 */
#include <stdlib.h>

#include <rasad/plugin.h>

#ifndef PRESET
#define PRESET "0.5"
#endif
#ifndef ROW_NAME
#define ROW_NAME "number"
#endif

struct config {
    double number;
    int64_t integer;
    bool flag;
    const char *text;
    int64_t span;
    struct rasad_numbers numbers;
    struct rasad_texts texts;
    const char *must;
    char *derived; /* made by configure(), freed by release() */
};

static const struct rasad_option options[] = {
    {.name = ROW_NAME,
     .type = RASAD_OPTION_TYPE_NUMBER,
     .offset = offsetof(struct config, number),
     .preset = PRESET,
     .min = "-inf",
     .max = "1e3",
     .help = "a number"},
    RASAD_OPTION_INTEGER(struct config, integer, .preset = "7", .min = "1", .max = "10",
                         .help = "an integer"),
    RASAD_OPTION_BOOL(struct config, flag, .preset = "true", .help = "a bool"),
    RASAD_OPTION_TEXT(struct config, text, .preset = "a, b", .help = "a text"),
    RASAD_OPTION_DURATION(struct config, span, .preset = "90s", .min = "1s", .max = "1d",
                          .help = "a duration"),
    RASAD_OPTION_NUMBERS(struct config, numbers, .preset = "1, 2.5,inf", .min = "0",
                         .help = "numbers"),
    RASAD_OPTION_TEXTS(struct config, texts, .preset = "x, y", .help = "texts"),
    RASAD_OPTION_TEXT(struct config, must, .help = "without preset"),
};

static bool sample_configure(void *config, struct rasad_error *error)
{
    struct config *c = config;

    if (strcmp(c->must, "no") == 0)
        return rasad_fail(error, "must can't be \"no\" (write \"yes\")");
    c->derived = strdup(c->must);
    return c->derived != NULL || rasad_fail(error, "out of memory");
}

static void sample_release(void *config)
{
    free(((struct config *)config)->derived);
}

static size_t sample_state_size(const void *config)
{
    return sizeof(uint64_t);
}

static void sample_init(const void *config, void *state)
{
    *(uint64_t *)state = 0;
}

static bool sample_update(const void *config, void *state, const struct rasad_value *value,
                          struct rasad_error *error)
{
    ++*(uint64_t *)state;
    return true;
}

static void sample_merge(const void *config, void *into, const void *from)
{
    *(uint64_t *)into += *(const uint64_t *)from;
}

static void sample_render(const void *config, const void *state, struct rasad_writer *writer)
{
    rasad_write_count(writer, *(const uint64_t *)state);
}

RASAD_PUBLIC const struct rasad_plugin rasad_plugin = {
    RASAD_PLUGIN_HEAD,
    .flags = RASAD_COMMUTATIVE,
    .name = NAME,
    .version = "1.0",
    .kind = RASAD_COUNTER,
    .help = "A sample",
    .state_version = 1,
    RASAD_OPTIONS(options),
    .config_size = sizeof(struct config),
    .configure = sample_configure,
    .state_size = sample_state_size,
    .init = sample_init,
    .update = sample_update,
    .merge = sample_merge,
    .render = sample_render,
    .release = sample_release,
};
