/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Feeds samples to YOURS.c and compares what it then shows; `make check` runs it. Add a
 * line for whatever you would not like to break.
 */
#include "YOURS.c"

#include <stdio.h>

static const struct config config = {.ceiling = 100};
static char shown[100]; /* the points that were rendered */
static int failures;

static void keep(struct rasad_writer *writer, const struct rasad_point *point)
{
    size_t used = strlen(shown);

    (void)snprintf(shown + used, sizeof shown - used, "[%g]", point->value);
}

static bool take(struct state *state, double number)
{
    struct rasad_value value = {.type = RASAD_NUMBER, .number = number, .text = ""};

    value.size = sizeof value;
    return rasad_plugin.update(&config, state, &value, NULL);
}

static void expect(const char *what, const struct state *state, const char *wanted)
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
    struct state a, b;

    rasad_plugin.init(&config, &a);
    rasad_plugin.init(&config, &b);
    expect("a fresh state", &a, "");

    take(&a, 3);
    take(&a, 7.5);
    take(&a, -9);
    expect("the largest of 3, 7.5 and -9", &a, "[7.5]");

    failures += take(&a, 101); /* above the ceiling */
    expect("a state that refused 101", &a, "[7.5]");

    take(&b, 41);
    rasad_plugin.merge(&config, &a, &b);
    expect("7.5 merged with 41", &a, "[41]");

    printf("YOURS_test: %s\n", failures == 0 ? "fine" : "failed");
    return failures == 0 ? 0 : 1;
}
