/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Feeds samples to YOURS.c and compares what it then shows; `make check` runs it. Add a
 * line for whatever you would not like to break.
 */
#include "YOURS.c"

#include <stdio.h>

static const double bounds[] = {1, 10};
static struct config config = {.bounds = {.at = bounds, .count = 2}};
static char shown[100]; /* the points that were rendered */
static int failures;

static void keep(struct rasad_writer *writer, const struct rasad_point *point)
{
    size_t used = strlen(shown);

    (void)snprintf(shown + used, sizeof shown - used,
                   point->type == RASAD_POINT_BUCKET ? "[<=%g: %d]" : "[sum %g count %d]",
                   point->type == RASAD_POINT_BUCKET ? point->bound : point->value,
                   (int)point->count);
}

static bool take(void *state, double number)
{
    struct rasad_value value = {.type = RASAD_NUMBER, .number = number, .text = ""};

    value.size = sizeof value;
    return rasad_plugin.update(&config, state, &value, NULL);
}

static void expect(const char *what, const void *state, const char *wanted)
{
    struct rasad_writer writer = {.size = sizeof writer, .write = keep};

    shown[0] = '\0';
    rasad_plugin.render(&config, state, &writer);
    if (strcmp(shown, wanted) == 0)
        return;
    printf("%s shows \"%s\", not \"%s\"\n", what, shown, wanted);
    failures++;
}

int main(void)
{
    uint64_t a[10], b[10]; /* room for two states, aligned as the server aligns them */
    static const double falling[] = {10, 1};
    struct config wrong = {.bounds = {.at = falling, .count = 2}};

    failures += !rasad_plugin.configure(&config, NULL);
    failures += rasad_plugin.configure(&wrong, NULL);
    failures += rasad_plugin.state_size(&config) > sizeof a;
    rasad_plugin.init(&config, a);
    rasad_plugin.init(&config, b);
    expect("a fresh state", a, "[<=1: 0][<=10: 0][sum 0 count 0]");

    take(a, 0.5);
    take(a, 1); /* a bound belongs to its own bucket */
    take(a, 7);
    expect("0.5, 1 and 7", a, "[<=1: 2][<=10: 3][sum 8.5 count 3]");

    take(b, 32);
    rasad_plugin.merge(&config, a, b);
    expect("those merged with 32", a, "[<=1: 2][<=10: 3][sum 40.5 count 4]");

    printf("YOURS_test: %s\n", failures == 0 ? "fine" : "failed");
    return failures == 0 ? 0 : 1;
}
