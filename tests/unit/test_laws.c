/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The laws of rasad/plugin.h, by property: every plugin of the build folder is fed random samples
 * under several configs, and what its states render is compared. A failure names the law and the
 * seed; RASAD_SEED=N repeats it. At the end each law is shown to catch an aggregate that breaks it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include "aggregate.h"

#define ROUNDS 150
#define MOST_SAMPLES 60
#define CANARIES 64
#define START_NS INT64_C(1700000000000000000)

/* How far apart a plugin with RASAD_APPROXIMATE may render, relatively: more than any of them
 * states as its bound. */
#define APPROXIMATE 0.05

/* ---- Randomness ---------------------------------------------------------------------------- */

/* splitmix64 */
static uint64_t draw(uint64_t *seed)
{
    uint64_t z = *seed += UINT64_C(0x9e3779b97f4a7c15);

    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

static uint64_t below(uint64_t *seed, uint64_t limit)
{
    return draw(seed) % limit;
}

/* A whole number; sums of MOST_SAMPLES of them stay below 2^53. */
static double draw_number(uint64_t *seed)
{
    static const uint64_t sizes[] = {2, 20, 1000, UINT64_C(1) << 40};
    double size = (double)below(seed, sizes[below(seed, sizeof sizes / sizeof *sizes)]);

    return below(seed, 4) == 0 ? -size : size;
}

/* A sequence of samples with rising times, from `*time_ns` on. */
static size_t draw_samples(uint64_t *seed, int64_t *time_ns, struct rasad_value *samples)
{
    static const char *const texts[] = {"", "a", "banana", "quick", "\xc3\xa9t\xc3\xa9 A"};
    static const int64_t steps[] = {1, 1000, 1000000000, INT64_C(200000000000)};
    size_t count = below(seed, MOST_SAMPLES + 1);
    uint64_t changes = below(seed, 3); /* of three: how many numbers are changes */

    for (size_t i = 0; i < count; i++) {
        const char *text = texts[below(seed, sizeof texts / sizeof *texts)];
        double number = draw_number(seed);

        *time_ns += 1 + (int64_t)below(seed, (uint64_t)steps[below(seed, 4)]);
        samples[i] = below(seed, 8) == 0        ? value_text(text, strlen(text), *time_ns)
                     : below(seed, 3) < changes ? value_number(RASAD_CHANGE, number, *time_ns)
                                                : value_number(RASAD_NUMBER, number, *time_ns);
        samples[i].seed = draw(seed);
    }
    return count;
}

/* ---- States under guard -------------------------------------------------------------------- */

/* A state with canaries around it and unmapped pages around those. */
struct block {
    char *pages;
    size_t page_bytes; /* of all of them */
    char *state;
    size_t size;
};

static struct block block_make(size_t size, int fill)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    size_t inner = (size + 2 * CANARIES + 8 + page - 1) / page * page;
    struct block block = {.page_bytes = inner + 2 * page, .size = size};

    block.pages = mmap(NULL, block.page_bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_true(block.pages != MAP_FAILED);
    assert_int_equal(mprotect(block.pages + page, inner, PROT_READ | PROT_WRITE), 0);
    memset(block.pages + page, 0xc5, inner);
    /* As near to the pages' end as the alignment to 8 bytes allows. */
    block.state = block.pages + page + (inner - size - CANARIES) / 8 * 8;
    memset(block.state, fill, size);
    return block;
}

static void block_free(struct block *block)
{
    assert_int_equal(munmap(block->pages, block->page_bytes), 0);
}

static bool block_is_unharmed(const struct block *block)
{
    for (int i = 0; i < CANARIES; i++) {
        if ((unsigned char)block->state[-1 - i] != 0xc5 ||
            (unsigned char)block->state[block->size + (size_t)i] != 0xc5)
            return false;
    }
    return true;
}

/* ---- The laws ------------------------------------------------------------------------------ */

/* One check of one aggregate under one config. */
struct trial {
    const struct rasad_plugin *api;
    const void *config;
    uint64_t seed;
    int64_t now_ns;
    const char *broken; /* the first law that did not hold, or NULL */
    char detail[256];
};

static void trial_require(struct trial *trial, bool holds, const char *law)
{
    if (!holds && trial->broken == NULL)
        trial->broken = law;
}

static struct block trial_fresh(struct trial *trial, int fill)
{
    struct block block = block_make(trial->api->state_size(trial->config), fill);

    trial->api->init(trial->config, block.state);
    trial_require(trial, block_is_unharmed(&block), "init() writes inside the block only");
    return block;
}

/* Feeds samples, and checks what must hold for each. */
static void trial_feed(struct trial *trial, struct block *block, const struct rasad_value *samples,
                       size_t count)
{
    char *before = malloc(block->size);

    assert_non_null(before);
    for (size_t i = 0; i < count; i++) {
        struct rasad_error error = {""};
        bool taken;

        memcpy(before, block->state, block->size);
        taken = trial->api->update(trial->config, block->state, &samples[i], &error);
        trial_require(trial, taken || memcmp(before, block->state, block->size) == 0,
                      "a refused value changes no byte");
        trial_require(trial, taken || (error.text[0] != '\0' && strchr(error.text, '\n') == NULL),
                      "a refusal gives one line of reason");
        trial_require(trial, block_is_unharmed(block), "update() writes inside the block only");
    }
    free(before);
    if (trial->api->verify != NULL)
        trial_require(trial, trial->api->verify(trial->config, block->state, block->size),
                      "verify() accepts what update() made");
}

static void trial_merge(struct trial *trial, struct block *into, const struct block *from)
{
    char *before = malloc(from->size);

    assert_non_null(before);
    memcpy(before, from->state, from->size);
    trial->api->merge(trial->config, into->state, from->state);
    trial_require(trial, memcmp(before, from->state, from->size) == 0, "merge() only reads `from`");
    trial_require(trial, block_is_unharmed(into) && block_is_unharmed(from),
                  "merge() writes inside the block only");
    if (trial->api->verify != NULL)
        trial_require(trial, trial->api->verify(trial->config, into->state, into->size),
                      "verify() accepts what merge() made");
    free(before);
}

/* Whether the points, one after the other, are what this kind of plugin may write. */
static bool points_fit(const struct points *points, uint32_t kind)
{
    static const uint32_t single[] = {
        [RASAD_GAUGE] = RASAD_POINT_GAUGE, [RASAD_COUNTER] = RASAD_POINT_COUNTER};
    uint32_t steps = kind == RASAD_HISTOGRAM ? RASAD_POINT_BUCKET : RASAD_POINT_QUANTILE;
    const struct rasad_point *at = points->at;
    size_t count = points->count;

    if (kind == RASAD_GAUGE || kind == RASAD_COUNTER)
        return count == 0 || (count == 1 && at[0].type == single[kind] &&
                              (kind == RASAD_GAUGE || at[0].value >= 0));
    if (count == 0 || at[count - 1].type != RASAD_POINT_TOTALS)
        return false;
    for (size_t i = 0; i + 1 < count; i++) {
        if (at[i].type != steps || (i > 0 && !(at[i].bound > at[i - 1].bound)))
            return false;
        if (i > 0 && (at[i].count < at[i - 1].count || at[i].value < at[i - 1].value))
            return false;
    }
    return true;
}

static bool is_near(double a, double b, double tolerance)
{
    return a == b || (isnan(a) && isnan(b)) || fabs(a - b) <= tolerance * fmax(fabs(a), fabs(b));
}

/* Whether both blocks render the same; if not, `detail` has the first difference. */
static bool trial_same(struct trial *trial, const struct block *x, const struct block *y)
{
    static struct points a, b;
    double tolerance = (trial->api->flags & RASAD_APPROXIMATE) != 0 ? APPROXIMATE : 0;

    points_render(&a, trial->api, trial->config, x->state, trial->now_ns);
    points_render(&b, trial->api, trial->config, y->state, trial->now_ns);
    trial_require(trial, points_fit(&a, trial->api->kind), "render() writes points of its kind");
    for (size_t i = 0; i < a.count && i < b.count; i++) {
        const struct rasad_point *p = &a.at[i], *q = &b.at[i];

        if (p->type == q->type && is_near(p->bound, q->bound, 0) &&
            is_near(p->value, q->value, tolerance) && p->whole == q->whole &&
            (p->count == q->count || is_near((double)p->count, (double)q->count, tolerance)))
            continue;
        (void)snprintf(trial->detail, sizeof trial->detail,
                       "point %zu: %.17g (count %llu) or %.17g (count %llu)", i, p->value,
                       (unsigned long long)p->count, q->value, (unsigned long long)q->count);
        return false;
    }
    return a.count == b.count;
}

/* A state of its own few samples, at times that overlap with others'. */
static struct block trial_random(struct trial *trial)
{
    struct rasad_value samples[MOST_SAMPLES];
    int64_t time_ns = START_NS;
    size_t count = draw_samples(&trial->seed, &time_ns, samples);
    struct block block = trial_fresh(trial, 0);

    trial_feed(trial, &block, samples, count);
    trial->now_ns = time_ns > trial->now_ns ? time_ns : trial->now_ns;
    return block;
}

static struct block trial_copy(struct trial *trial, const struct block *from)
{
    struct block copy = block_make(from->size, 0);

    memcpy(copy.state, from->state, from->size);
    return copy;
}

static void law_size(struct trial *trial)
{
    size_t size = trial->api->state_size(trial->config);

    trial_require(trial, size >= 1 && size <= 1 << 20, "a state has 1 byte to 1 MiB");
    trial_require(trial, size == trial->api->state_size(trial->config), "state_size() is constant");
}

static void law_init(struct trial *trial)
{
    struct block zeros = trial_fresh(trial, 0x00), ones = trial_fresh(trial, 0xff);

    trial_require(trial, trial_same(trial, &zeros, &ones), "init() doesn't heed old bytes");
    if (trial->api->verify != NULL)
        trial_require(trial, trial->api->verify(trial->config, zeros.state, zeros.size),
                      "verify() accepts what init() made");
    block_free(&zeros);
    block_free(&ones);
}

static void law_neutral(struct trial *trial)
{
    struct block x = trial_random(trial), same = trial_copy(trial, &x);
    struct block left = trial_fresh(trial, 0xff), right = trial_fresh(trial, 0xff);

    trial_merge(trial, &left, &x);
    trial_require(trial, trial_same(trial, &left, &x), "a fresh state is neutral on the left");
    trial_merge(trial, &same, &right);
    trial_require(trial, trial_same(trial, &same, &x), "a fresh state is neutral on the right");
    block_free(&x);
    block_free(&same);
    block_free(&left);
    block_free(&right);
}

static void law_associative(struct trial *trial)
{
    struct block x = trial_random(trial), y = trial_random(trial), z = trial_random(trial);
    struct block first = trial_copy(trial, &x), second = trial_copy(trial, &y);

    trial_merge(trial, &first, &y); /* (x + y) + z */
    trial_merge(trial, &first, &z);
    trial_merge(trial, &second, &z); /* x + (y + z) */
    trial_merge(trial, &x, &second);
    trial_require(trial, trial_same(trial, &first, &x), "merge() is associative");
    block_free(&x);
    block_free(&y);
    block_free(&z);
    block_free(&first);
    block_free(&second);
}

static void law_commutative(struct trial *trial)
{
    struct block x = trial_random(trial), y = trial_random(trial);
    struct block reverse = trial_copy(trial, &y);

    trial_merge(trial, &reverse, &x);
    trial_merge(trial, &x, &y);
    if ((trial->api->flags & RASAD_COMMUTATIVE) != 0)
        trial_require(trial, trial_same(trial, &x, &reverse), "merge() is commutative");
    block_free(&x);
    block_free(&y);
    block_free(&reverse);
}

static void law_halves(struct trial *trial)
{
    struct rasad_value samples[MOST_SAMPLES];
    int64_t time_ns = START_NS;
    size_t count = draw_samples(&trial->seed, &time_ns, samples);
    size_t cut = below(&trial->seed, count + 1);
    struct block whole = trial_fresh(trial, 0);
    struct block first = trial_fresh(trial, 0), second = trial_fresh(trial, 0);

    trial->now_ns = time_ns;
    trial_feed(trial, &whole, samples, count);
    trial_feed(trial, &first, samples, cut);
    trial_feed(trial, &second, samples + cut, count - cut);
    trial_merge(trial, &first, &second);
    trial_require(trial, trial_same(trial, &whole, &first), "two halves merge into the whole");
    block_free(&whole);
    block_free(&first);
    block_free(&second);
}

static void law_copy(struct trial *trial)
{
    struct rasad_value samples[MOST_SAMPLES];
    int64_t time_ns = START_NS;
    size_t count = draw_samples(&trial->seed, &time_ns, samples);
    size_t cut = below(&trial->seed, count + 1);
    struct block stays = trial_fresh(trial, 0), left = trial_fresh(trial, 0xff), moved;

    trial->now_ns = time_ns;
    trial_feed(trial, &stays, samples, count);
    trial_feed(trial, &left, samples, cut);
    moved = trial_copy(trial, &left);
    memset(left.state, 0xaa, left.size); /* a pointer into the old place finds rubbish */
    trial_feed(trial, &moved, samples + cut, count - cut);
    trial_require(trial, trial_same(trial, &stays, &moved), "a copy of the bytes is as good");
    block_free(&stays);
    block_free(&left);
    block_free(&moved);
}

static void law_render(struct trial *trial)
{
    static struct points points;
    struct block x = trial_random(trial), before = trial_copy(trial, &x);

    points_render(&points, trial->api, trial->config, x.state, trial->now_ns);
    trial_require(trial, memcmp(x.state, before.state, x.size) == 0, "render() changes nothing");
    trial_require(trial, block_is_unharmed(&x), "render() writes nothing outside");
    block_free(&x);
    block_free(&before);
}

/* The first law that the aggregate breaks in so many rounds, or NULL. Prints it if asked to. */
static const char *find_broken_law(const struct rasad_plugin *api, const void *config, bool print)
{
    static void (*const laws[])(struct trial *) = {
        law_size,        law_init,   law_neutral, law_associative,
        law_commutative, law_halves, law_copy,    law_render,
    };
    const char *given = getenv("RASAD_SEED");
    uint64_t first = given != NULL ? strtoull(given, NULL, 10) : 20231114;

    for (size_t i = 0; i < sizeof laws / sizeof *laws; i++) {
        for (uint64_t seed = first; seed < first + ROUNDS; seed++) {
            struct trial trial = {.api = api, .config = config, .seed = seed, .now_ns = START_NS};

            laws[i](&trial);
            if (trial.broken == NULL)
                continue;
            if (print)
                print_error("%s: \"%s\" is broken: %s (repeat with RASAD_SEED=%llu)\n", api->name,
                            trial.broken, trial.detail, (unsigned long long)seed);
            return trial.broken;
        }
    }
    return NULL;
}

/* ---- Every plugin of the build folder ------------------------------------------------------ */

static const struct {
    const char *plugin;
    struct setting settings[4];
} configs[] = {
    {"letter_counter", {{"letters", "aA"}}},
    {"letter_counter", {{"letters", "\xc3\xa9"}}}, /* a letter of two bytes */
    {"histogram", {{"buckets", "1"}}},             /* the fewest buckets */
    {"histogram", {{"buckets", "-5, 0, 5, inf"}}}, /* signs, and a bound that is there anyhow */
    {"peak", {{"ceiling", "50"}}},                 /* the guide's */
    {"summary", {{"window", "1s"}}},               /* most samples fall out of the window */
    {"summary", {{"window", "30d"}}},              /* none does */
    {"summary", {{"error", "0.25"}, {"quantiles", ""}}},
    {"summary", {{"error", "0.25"}, {"quantiles", "0, 0.1, 0.5, 1"}, {"window", "1d"}}},
};

static void check_config(const struct plugin *plugin, const struct setting *settings)
{
    struct rasad_error error;
    void *config, *before;

    if (!aggregate_configure(&plugin->api, settings, &config, &error))
        fail_msg("%s: %s (give it a row in configs[])", plugin->api.name, error.text);
    before = malloc(plugin->api.config_size + 1);
    assert_non_null(before);
    memcpy(before, config, plugin->api.config_size);
    assert_null(find_broken_law(&plugin->api, config, true));
    assert_memory_equal(before, config, plugin->api.config_size);
    if (plugin->api.release != NULL)
        plugin->api.release(config);
    free(before);
    aggregate_release(&plugin->api, config);
}

static void check_plugin(const char *folder, const char *name)
{
    char path[4096];
    struct rasad_error error;
    struct plugin *plugin;
    bool has_needs = false;

    (void)snprintf(path, sizeof path, "%s/%s.so", folder, name);
    if (!plugin_open(path, name, &plugin, &error))
        fail_msg("%s", error.text);
    for (uint64_t i = 0; i < plugin->api.option_count; i++)
        has_needs = has_needs || plugin->api.options[i].preset == NULL;
    if (!has_needs)
        check_config(plugin, NULL);
    for (size_t i = 0; i < sizeof configs / sizeof *configs; i++) {
        if (strcmp(configs[i].plugin, name) == 0) {
            check_config(plugin, configs[i].settings);
            has_needs = false;
        }
    }
    if (has_needs)
        fail_msg("%s has an option without preset: give it a row in configs[]", name);
    plugin_close(plugin);
}

static void test_every_plugin_keeps_the_laws(void **unused)
{
    DIR *folder = opendir(PLUGINS);
    int checked = 0;

    assert_non_null(folder);
    for (const struct dirent *entry; (entry = readdir(folder)) != NULL;) {
        size_t length = strlen(entry->d_name);
        char name[256];

        if (length < 4 || strcmp(entry->d_name + length - 3, ".so") != 0)
            continue;
        (void)snprintf(name, sizeof name, "%.*s", (int)(length - 3), entry->d_name);
        check_plugin(PLUGINS, name);
        checked++;
    }
    closedir(folder);
    assert_true(checked >= 5);
}

/* docs/plugin-guide.md shows a plugin and the command that compiles it; both must hold. */
static void test_the_guides_plugin_compiles_and_keeps_the_laws(void **unused)
{
    char folder[] = "/tmp/rasad-test-XXXXXX";
    char command[4096];

    assert_non_null(mkdtemp(folder));
    (void)snprintf(command, sizeof command,
                   "cd %s && sed -n '/^```c$/,/^```$/{/^```/!p}' " GUIDE " > peak.c &&"
                   " umask 022 && gcc -std=c17 -O2 -Wall -Wextra -Wno-unused-parameter -Werror"
                   " -shared -fPIC -fvisibility=hidden -I" HEADERS " -o peak.so peak.c -lm",
                   folder);
    assert_int_equal(system(command), 0);
    check_plugin(folder, "peak");
    (void)snprintf(command, sizeof command, "rm -r %s", folder);
    assert_int_equal(system(command), 0);
}

/* ---- Broken aggregates are caught ---------------------------------------------------------- */

/* A sum that is right; the broken ones below each get one function wrong. */
struct sum {
    double sum;
    double spare; /* not rendered; for what some of them hide */
};

static size_t sum_state_size(const void *config)
{
    return sizeof(struct sum);
}

static void sum_init(const void *config, void *state)
{
    *(struct sum *)state = (struct sum){0};
}

static bool sum_update(const void *config, void *state, const struct rasad_value *value,
                       struct rasad_error *error)
{
    if (value->type == RASAD_TEXT)
        return rasad_fail(error, "wants a number");
    ((struct sum *)state)->sum += value->number;
    return true;
}

static void sum_merge(const void *config, void *into, const void *from)
{
    ((struct sum *)into)->sum += ((const struct sum *)from)->sum;
}

static void sum_render(const void *config, const void *state, struct rasad_writer *writer)
{
    rasad_write_gauge(writer, ((const struct sum *)state)->sum);
}

static bool sum_verify(const void *config, const void *state, size_t size)
{
    return size == sizeof(struct sum);
}

static size_t huge_state_size(const void *config)
{
    return (1 << 20) + 1;
}

static void idle_init(const void *config, void *state)
{
}

static void biased_init(const void *config, void *state)
{
    *(struct sum *)state = (struct sum){.sum = 1};
}

static void wide_init(const void *config, void *state)
{
    memset(state, 0, sizeof(struct sum) + 1);
}

static bool hasty_update(const void *config, void *state, const struct rasad_value *value,
                         struct rasad_error *error)
{
    ((struct sum *)state)->spare++; /* before it knows whether it takes the value */
    return sum_update(config, state, value, error);
}

static bool silent_update(const void *config, void *state, const struct rasad_value *value,
                          struct rasad_error *error)
{
    return sum_update(config, state, value, NULL);
}

static bool wide_update(const void *config, void *state, const struct rasad_value *value,
                        struct rasad_error *error)
{
    ((char *)state)[-1] = 0;
    return sum_update(config, state, value, error);
}

/* Keeps an address in the state. */
static bool rooted_update(const void *config, void *state, const struct rasad_value *value,
                          struct rasad_error *error)
{
    struct sum *s = state;
    void *home;

    if (!sum_update(config, state, value, error))
        return false;
    memcpy(&home, &s->spare, sizeof home);
    if (home != NULL && home != state)
        s->sum -= value->number;
    else
        memcpy(&s->spare, &state, sizeof state);
    return true;
}

/* The last one wins, without a stamp: halves merge well, but in this order only. */
static bool last_update(const void *config, void *state, const struct rasad_value *value,
                        struct rasad_error *error)
{
    if (value->type == RASAD_TEXT)
        return rasad_fail(error, "wants a number");
    *(struct sum *)state = (struct sum){.sum = value->number, .spare = 1};
    return true;
}

static void last_merge(const void *config, void *into, const void *from)
{
    if (((const struct sum *)from)->spare > 0)
        *(struct sum *)into = *(const struct sum *)from;
}

/* The mean of the means: commutative, neither associative nor the whole's. */
static void mean_merge(const void *config, void *into, const void *from)
{
    struct sum *a = into;
    const struct sum *b = from;

    if (a->sum == 0 || b->sum == 0)
        a->sum += b->sum;
    else
        a->sum = (a->sum + b->sum) / 2;
}

/* The largest of two sums: sound as a merge, but not of sums. */
static void largest_merge(const void *config, void *into, const void *from)
{
    struct sum *a = into;
    const struct sum *b = from;

    if (b->spare > a->spare || (b->spare == a->spare && b->sum > a->sum))
        *a = *b;
}

static bool counting_update(const void *config, void *state, const struct rasad_value *value,
                            struct rasad_error *error)
{
    if (!sum_update(config, state, value, error))
        return false;
    ((struct sum *)state)->spare++;
    return true;
}

static void greedy_merge(const void *config, void *into, const void *from)
{
    sum_merge(config, into, from);
    memset((void *)(uintptr_t)from, 0, sizeof(struct sum)); /* takes, where it may only look */
}

static void wide_merge(const void *config, void *into, const void *from)
{
    sum_merge(config, into, from);
    ((char *)into)[sizeof(struct sum)] = 0;
}

static void counter_render(const void *config, const void *state, struct rasad_writer *writer)
{
    rasad_write_counter(writer, ((const struct sum *)state)->sum);
}

static void touching_render(const void *config, const void *state, struct rasad_writer *writer)
{
    ((struct sum *)(uintptr_t)state)->spare++;
    sum_render(config, state, writer);
}

static bool narrow_verify(const void *config, const void *state, size_t size)
{
    return ((const struct sum *)state)->sum == 0;
}

/* Sums of sizes, since 5 % of a difference would be no bound. */
static bool size_update(const void *config, void *state, const struct rasad_value *value,
                        struct rasad_error *error)
{
    if (value->type == RASAD_TEXT)
        return rasad_fail(error, "wants a number");
    ((struct sum *)state)->sum += fabs(value->number);
    return true;
}

/* Is off by a little with each merge. */
static void rough_merge(const void *config, void *into, const void *from)
{
    struct sum *a = into;

    a->sum = (a->sum + ((const struct sum *)from)->sum) * 1.0001;
}

static const struct rasad_plugin sum_plugin = {
    RASAD_PLUGIN_HEAD,    .flags = RASAD_COMMUTATIVE,
    .kind = RASAD_GAUGE,  .state_version = 1,
    .name = "sum",        .version = "1.0",
    .help = "The sum",    .state_size = sum_state_size,
    .init = sum_init,     .update = sum_update,
    .merge = sum_merge,   .render = sum_render,
    .verify = sum_verify,
};

static void test_a_sound_aggregate_breaks_no_law(void **unused)
{
    assert_null(find_broken_law(&sum_plugin, NULL, true));
}

/* The law that is broken by the sum with these functions put in. */
static void check_caught(struct rasad_plugin with, const char *law)
{
    struct rasad_plugin api = sum_plugin;
    const char *found;

    api.state_size = with.state_size != NULL ? with.state_size : api.state_size;
    api.init = with.init != NULL ? with.init : api.init;
    api.update = with.update != NULL ? with.update : api.update;
    api.merge = with.merge != NULL ? with.merge : api.merge;
    api.render = with.render != NULL ? with.render : api.render;
    api.verify = with.verify != NULL ? with.verify : api.verify;
    api.flags = with.flags != 0 ? with.flags : api.flags;
    found = find_broken_law(&api, NULL, false);
    if (found == NULL)
        fail_msg("nothing was found where \"%s\" is broken", law);
    assert_string_equal(found, law);
}

static void test_each_law_catches_who_breaks_it(void **unused)
{
    const struct {
        struct rasad_plugin with;
        const char *law;
    } cases[] = {
        {{.state_size = huge_state_size}, "a state has 1 byte to 1 MiB"},
        {{.init = idle_init}, "init() doesn't heed old bytes"},
        {{.init = biased_init}, "a fresh state is neutral on the left"},
        {{.init = wide_init}, "init() writes inside the block only"},
        {{.update = hasty_update}, "a refused value changes no byte"},
        {{.update = silent_update}, "a refusal gives one line of reason"},
        {{.update = wide_update}, "update() writes inside the block only"},
        {{.update = rooted_update}, "a copy of the bytes is as good"},
        {{.update = last_update, .merge = last_merge}, "merge() is commutative"},
        {{.merge = mean_merge}, "merge() is associative"},
        {{.update = counting_update, .merge = largest_merge}, "two halves merge into the whole"},
        {{.merge = greedy_merge}, "merge() only reads `from`"},
        {{.merge = wide_merge}, "merge() writes inside the block only"},
        {{.render = counter_render}, "render() writes points of its kind"},
        {{.render = touching_render}, "render() changes nothing"},
        {{.verify = narrow_verify}, "verify() accepts what update() made"},
        {{.merge = rough_merge}, "a fresh state is neutral on the left"},
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        check_caught(cases[i].with, cases[i].law);
}

static void test_flags_loosen_what_they_say(void **unused)
{
    struct rasad_plugin last = sum_plugin, rough = sum_plugin;

    last.flags = 0; /* the last one wins is sound, only not commutative */
    last.update = last_update;
    last.merge = last_merge;
    assert_null(find_broken_law(&last, NULL, true));
    rough.flags = RASAD_COMMUTATIVE | RASAD_APPROXIMATE;
    rough.update = size_update;
    rough.merge = rough_merge;
    assert_null(find_broken_law(&rough, NULL, true));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_plugin_keeps_the_laws),
        cmocka_unit_test(test_the_guides_plugin_compiles_and_keeps_the_laws),
        cmocka_unit_test(test_a_sound_aggregate_breaks_no_law),
        cmocka_unit_test(test_each_law_catches_who_breaks_it),
        cmocka_unit_test(test_flags_loosen_what_they_say),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
