/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * aggregate: what the tests of metric plugins share: a config filled from a plugin's option table,
 * samples to feed, and a writer that keeps the points which render() writes.
 * Memory: what is made here is the test's own and small; running out of it ends the test.
 */
#include <assert.h>
#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/number.h"
#include "plugin.h"

/* An option as the conf would have it: { "buckets", "0.1, 1" }; a name of NULL ends a list. */
struct setting {
    const char *name;
    const char *value;
};

static inline double aggregate_number(const char *text)
{
    double number = 0;
    bool fine = strcmp(text, "inf") == 0 || number_parse(text, strlen(text), &number);

    assert(fine);
    return strcmp(text, "inf") == 0 ? (double)INFINITY : number;
}

/* Cuts "a, b, c" into its words; one block for all, the caller's to free. */
static inline char **aggregate_words(const char *text, uint64_t *count)
{
    size_t most = strlen(text) + 1;
    char **words = calloc(most, sizeof *words + 1);
    char *rest;

    assert(words != NULL);
    rest = memcpy(words + most, text, most);
    *count = 0;
    for (char *word; (word = strsep(&rest, ",")) != NULL;) {
        word += strspn(word, " ");
        if (*word != '\0')
            words[(*count)++] = word;
    }
    return words;
}

/* Puts one value where its option row says. */
static inline void aggregate_set(void *config, const struct rasad_option *row, const char *value)
{
    void *at = (char *)config + row->offset;
    uint64_t count;
    char **words;
    double *numbers;
    bool fine = true;

    if (row->type == RASAD_OPTION_TYPE_NUMBER)
        *(double *)at = aggregate_number(value);
    else if (row->type == RASAD_OPTION_TYPE_INTEGER)
        *(int64_t *)at = strtoll(value, NULL, 10);
    else if (row->type == RASAD_OPTION_TYPE_BOOL)
        *(bool *)at = strcmp(value, "true") == 0;
    else if (row->type == RASAD_OPTION_TYPE_TEXT)
        *(const char **)at = value;
    else if (row->type == RASAD_OPTION_TYPE_DURATION)
        fine = duration_parse(value, at);
    assert(fine);
    if (row->type != RASAD_OPTION_TYPE_NUMBERS && row->type != RASAD_OPTION_TYPE_TEXTS)
        return;
    words = aggregate_words(value, &count);
    if (row->type == RASAD_OPTION_TYPE_TEXTS) {
        *(struct rasad_texts *)at = (struct rasad_texts){(const char *const *)words, count};
        return;
    }
    numbers = calloc(count + 1, sizeof *numbers);
    assert(numbers != NULL);
    for (uint64_t i = 0; i < count; i++)
        numbers[i] = aggregate_number(words[i]);
    *(struct rasad_numbers *)at = (struct rasad_numbers){numbers, count};
    free(words);
}

/*
 * A config of this plugin with these settings, the presets for the rest. False with configure()'s
 * reason if it refuses them. Every option without a preset must be set. To be ended with
 * aggregate_release(), after the plugin's own release().
 */
static inline bool aggregate_configure(const struct rasad_plugin *api,
                                       const struct setting *settings, void **config,
                                       struct rasad_error *error)
{
    *config = calloc(1, api->config_size + 8);
    assert(*config != NULL);
    for (uint64_t i = 0; i < api->option_count; i++) {
        const struct rasad_option *row = &api->options[i];
        const char *value = row->preset;

        for (const struct setting *s = settings; s != NULL && s->name != NULL; s++)
            value = strcmp(s->name, row->name) == 0 ? s->value : value;
        if (value == NULL)
            return rasad_fail(error, "the test sets no \"%s\"", row->name);
        aggregate_set(*config, row, value);
    }
    return api->configure == NULL || api->configure(*config, error);
}

/* Ends a config, which configure() may have refused. */
static inline void aggregate_release(const struct rasad_plugin *api, void *config)
{
    for (uint64_t i = 0; i < api->option_count; i++) {
        const struct rasad_option *row = &api->options[i];
        const void *at = (char *)config + row->offset;

        if (row->type == RASAD_OPTION_TYPE_NUMBERS)
            free((void *)(uintptr_t)((const struct rasad_numbers *)at)->at);
        if (row->type == RASAD_OPTION_TYPE_TEXTS)
            free((void *)(uintptr_t)((const struct rasad_texts *)at)->at);
    }
    free(config);
}

/* The points of one rendering. */
struct points {
    struct rasad_writer writer;
    size_t count;
    struct rasad_point at[1100];
};

static inline void points_write(struct rasad_writer *writer, const struct rasad_point *point)
{
    struct points *points = (struct points *)writer;

    assert(points->count < sizeof points->at / sizeof *points->at);
    points->at[points->count++] = *point;
}

/* Renders at this time into `points`, which hold that rendering and no other. */
static inline void points_render(struct points *points, const struct rasad_plugin *api,
                                 const void *config, const void *state, int64_t now_ns)
{
    points->count = 0;
    points->writer = (struct rasad_writer){
        .size = sizeof points->writer, .now_ns = now_ns, .write = points_write};
    api->render(config, state, &points->writer);
}

/* A sample of a number or a change. */
static inline struct rasad_value value_number(uint32_t type, double number, int64_t time_ns)
{
    return (struct rasad_value){.size = sizeof(struct rasad_value),
                                .type = type,
                                .number = number,
                                .text = "",
                                .time_ns = time_ns};
}

/* A sample of a text of this many bytes. */
static inline struct rasad_value value_text(const char *text, size_t length, int64_t time_ns)
{
    return (struct rasad_value){.size = sizeof(struct rasad_value),
                                .type = RASAD_TEXT,
                                .text = text,
                                .length = length,
                                .time_ns = time_ns};
}
