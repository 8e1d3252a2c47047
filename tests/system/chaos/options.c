/* SPDX-License-Identifier: Apache-2.0 */
#include "options.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"

void die(int code, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    (void)fputs("chaos_sender: ", stderr);
    (void)vfprintf(stderr, format, arguments);
    (void)fputc('\n', stderr);
    va_end(arguments);
    exit(code);
}

static void take_word(struct options *options, char *word)
{
    const struct {
        const char *name;
        const char **text;
        uint64_t *number;
    } words[] = {
        {"name", &options->name, NULL},      {"stream", &options->stream, NULL},
        {"state", &options->state, NULL},    {"port", NULL, &options->port},
        {"index", NULL, &options->index},    {"messages", NULL, &options->messages},
        {"seed", NULL, &options->seed},      {"window", NULL, &options->window_bytes},
        {"begin", NULL, &options->begin_ns}, {"seconds", NULL, &options->seconds},
        {"spool", &options->spool, NULL},    {"first", NULL, &options->first},
        {"step", NULL, &options->step_ms},   {"plain", NULL, &options->plain},
    };
    char *value = strchr(word, '=');

    for (size_t i = 0; value != NULL && i < sizeof words / sizeof *words; i++) {
        if (strlen(words[i].name) != (size_t)(value - word) ||
            strncmp(words[i].name, word, (size_t)(value - word)) != 0)
            continue;
        if (words[i].text != NULL)
            *words[i].text = value + 1;
        else
            *words[i].number = strtoull(value + 1, NULL, 10);
        return;
    }
    die(64, "what is %s? (options.h has the words)", word);
}

struct options options_read(int count, char **words)
{
    struct options options = {.window_bytes = 256 << 10};

    for (int i = 0; i < count; i++)
        take_word(&options, words[i]);
    return options;
}

uint64_t options_released(const struct options *options)
{
    int64_t step_ns = (int64_t)options->step_ms * NS_PER_MS;
    int64_t since_ns = clock_steady_ns() - (int64_t)options->begin_ns;

    if (options->seconds == 0 || since_ns >= (int64_t)options->seconds * NS_PER_S)
        return options->messages;
    if (since_ns < 0)
        return 0;
    if (step_ns > 0)
        since_ns -= since_ns % step_ns;
    return (uint64_t)((double)options->messages * (double)since_ns /
                      ((double)options->seconds * (double)NS_PER_S));
}
