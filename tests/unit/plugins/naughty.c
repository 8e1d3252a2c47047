/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A counter that misbehaves on certain values, for the tests of isolation. Some of it is what a
 * hostile plugin would do: it knows the memory that its process shares with the server, writes into
 * it what its process never would, and answers before it is done.
 */
#include <linux/futex.h>
#include <rasad/plugin.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "isolate/channel.h"

#ifdef LOUD
__attribute__((constructor)) static void shout(void)
{
    if (getenv("RASAD_TEST_HOST") != NULL)
        abort(); /* its code runs in the server, which hands its environment to nobody */
}
#endif

struct config {
    double ceiling;
    int64_t fake; /* which lie render() tells */
    int64_t padding;
    struct rasad_texts words;
};

static const struct rasad_option options[] = {
    RASAD_OPTION_NUMBER(struct config, ceiling, .preset = "inf", .help = "Refuse above this"),
    RASAD_OPTION_INTEGER(struct config, fake, .preset = "0", .help = "Which lie to tell"),
    RASAD_OPTION_INTEGER(struct config, padding, .preset = "0", .max = "1000000",
                         .help = "Bytes more in a state"),
    RASAD_OPTION_TEXTS(struct config, words, .preset = "", .help = "Texts that count double"),
};

struct state {
    uint64_t count;
    double sum;
    uint64_t texts;     /* bytes of all texts */
    uint64_t exemplars; /* bytes of all their labels */
    unsigned char padding[];
};

static bool naughty_configure(void *config, struct rasad_error *error)
{
    const struct config *c = config;

    if (c->ceiling < 0)
        return rasad_fail(error, "ceiling must not be below zero");
    if (c->ceiling == 666) /* NOLINT: it was set to just that */
        abort();
    return true;
}

static size_t naughty_state_size(const void *config)
{
    return sizeof(struct state) + (size_t)((const struct config *)config)->padding;
}

static void naughty_init(const void *config, void *state)
{
    memset(state, 0, naughty_state_size(config));
    ((struct state *)state)->count = 0;
}

/* ---- Lies ---------------------------------------------------------------------------------- */

/* The control page: it begins somewhere before the answer, on a multiple of 64 KiB. */
static struct channel_control *find_control(const void *answer)
{
    uint32_t busy = (uint32_t)syscall(SYS_gettid) | FUTEX_WAITERS;
    unsigned char *at = (unsigned char *)((uintptr_t)answer & ~(uintptr_t)4095);

    for (;; at -= 4096) {
        struct channel_control *control = (struct channel_control *)at;

        if (atomic_load(&control->owner) == busy)
            return control;
    }
}

/* Says that the job is done, and never comes back. */
static void answer_early(struct channel_control *control)
{
    atomic_store(&control->owner, (uint32_t)syscall(SYS_gettid));
    (void)syscall(SYS_futex, &control->owner, FUTEX_WAKE, 1, NULL, NULL, 0);
    for (uint32_t forever = 7;;)
        (void)syscall(SYS_futex, &forever, FUTEX_WAIT, 7, NULL, NULL, 0);
}

static void lie_about_verdicts(void *state)
{
    struct channel_control *control = find_control(state);

    memset(control->verdicts, 0xfe, sizeof control->verdicts);
    memset(control->reasons, 'x', sizeof control->reasons); /* without an end */
    answer_early(control);
}

static void lie_about_points(int64_t which, const void *state)
{
    struct channel_control *control = find_control(state);

    control->rendered = which == 1 ? UINT32_MAX : 1;
    control->points_bytes = which == 2 ? UINT64_MAX : which == 3 ? 1000 : 7;
    answer_early(control);
}

/* ---- Mistakes ------------------------------------------------------------------------------ */

static void (*volatile nowhere)(void);
static volatile int *volatile null;

static void write_behind(void *state, size_t bytes)
{
    volatile unsigned char *at = state;

    at[bytes] ^= 1;
}

static volatile bool deeper = true;

static void recurse(volatile char *from)
{
    volatile char room[4096];

    room[0] = from[0];
    if (deeper)
        recurse(room);
    room[1] = room[0];
}

static void misbehave(const void *config, void *state, int what)
{
    switch (what) {
    case 13:
        *null = 1;
        return;
    case 14:
        for (;;)
            __asm__ volatile("" ::: "memory");
    case 15:
        write_behind(state, naughty_state_size(config));
        return;
    case 16:
        exit(0);
    case 17:
        abort();
    case 18:
        (void)syscall(SYS_getppid); /* harmless, but none of its business */
        return;
    case 19:
        write_behind(state, (size_t)-1);
        return;
    case 20:
        lie_about_verdicts(state);
        return;
    case 21:
        nowhere();
        return;
    case 22:
        recurse("");
        return;
    case 23:
        write_behind(find_control(state), CHANNEL_CONTROL_BYTES + 8); /* the request */
        return;
    default:
        return;
    }
}

static bool naughty_update(const void *config, void *state, const struct rasad_value *value,
                           struct rasad_error *error)
{
    const struct config *c = config;
    struct state *s = state;

    if (value->type == RASAD_NUMBER && value->number > c->ceiling)
        return rasad_fail(error, "%g is above %g", value->number, c->ceiling);
    if (value->type != RASAD_TEXT)
        misbehave(config, state, (int)value->number);
    s->count++;
    s->sum += value->number;
    s->texts += value->length;
    for (uint64_t i = 0; i < c->words.count; i++)
        s->count += strcmp(c->words.at[i], value->text) == 0;
    for (uint64_t i = 0; value->exemplar != NULL && i < value->exemplar->label_count; i++)
        s->exemplars +=
            strlen(value->exemplar->labels[i].name) + strlen(value->exemplar->labels[i].value);
    return true;
}

static void naughty_merge(const void *config, void *into, const void *from)
{
    struct state *a = into;
    const struct state *b = from;

    a->count += b->count;
    a->sum += b->sum;
    a->texts += b->texts;
    a->exemplars += b->exemplars;
    if (a->count == 1313)
        *null = 1;
}

static void render_much(struct rasad_writer *writer, uint64_t count)
{
    char name[1000];

    memset(name, 'n', sizeof name);
    name[sizeof name - 1] = '\0';
    for (uint64_t i = 0; i < count; i++) {
        rasad_write_label(writer, "much", name);
        rasad_write_count(writer, i);
    }
}

static void naughty_render(const void *config, const void *state, struct rasad_writer *writer)
{
    const struct config *c = config;
    const struct state *s = state;
    static const struct rasad_label trace = {"trace_id", "abc"};
    static const struct rasad_exemplar exemplar = {&trace, 1};
    struct rasad_point point = rasad_point_make(RASAD_POINT_COUNTER);

    if (s->count == 131313)
        *null = 1;
    if (c->fake != 0)
        lie_about_points(c->fake, state);
    if (s->texts >= 1000000)
        render_much(writer, s->texts / 1000);
    rasad_write_label(writer, "word", "a word");
    point.count = s->count;
    point.value = (double)s->count;
    point.whole = 1;
    point.exemplar = &exemplar;
    writer->write(writer, &point);
}

static bool naughty_migrate(const void *config, uint32_t from_version, const void *from,
                            size_t size, void *into)
{
    struct state *s = into;

    if (from_version != 1 || size != sizeof(uint64_t))
        return false;
    naughty_init(config, into);
    memcpy(&s->count, from, size);
    if (s->count == 13)
        *null = 1;
    return true;
}

RASAD_PUBLIC const struct rasad_plugin rasad_plugin = {
    RASAD_PLUGIN_HEAD,
    .name = NAME,
    .version = "1.0",
    .kind = RASAD_COUNTER,
    .help = "Counts samples, if they are good",
    .state_version = 2,
    RASAD_OPTIONS(options),
    .config_size = sizeof(struct config),
    .configure = naughty_configure,
    .state_size = naughty_state_size,
    .init = naughty_init,
    .update = naughty_update,
    .merge = naughty_merge,
    .render = naughty_render,
    .migrate = naughty_migrate,
};
