/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How near the plugins that estimate come to the truth (distinct, top, rate), and that their
 * states merge as they say. Their samples are drawn anew in each run of a loop, from a seed that
 * is the same in each run of the test.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "bench.h"

/* splitmix64 */
static uint64_t draw(uint64_t *seed)
{
    uint64_t z = *seed += UINT64_C(0x9e3779b97f4a7c15);

    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

static size_t size_of(const struct bench *bench)
{
    return bench->plugin->api.state_size(bench->config);
}

static void *copy_of(const struct bench *bench, const void *state)
{
    void *copy = malloc(size_of(bench));

    assert_non_null(copy);
    return memcpy(copy, state, size_of(bench));
}

static void merge(const struct bench *bench, void *into, const void *from)
{
    bench->plugin->api.merge(bench->config, into, from);
    assert_true(bench->plugin->api.verify(bench->config, into, size_of(bench)));
}

static bool takes(const struct bench *bench, void *state, struct rasad_value value)
{
    return bench->plugin->api.update(bench->config, state, &value, NULL);
}

/* ---- How states merge ---------------------------------------------------------------------- */

/* Few enough different ones for top to be exact; some are refused. */
static struct rasad_value draw_sample(uint64_t *seed, int64_t *time_ns)
{
    static const char *const texts[] = {"", "a", "banana", "/a path", "\xc3\xa9t\xc3\xa9", "b\nc"};
    const char *text = texts[draw(seed) % (sizeof texts / sizeof *texts)];
    double number = (double)(draw(seed) % 100) - 10;

    *time_ns += (int64_t)(draw(seed) % (10 * S)) - 2 * S; /* now and then an older one */
    if (draw(seed) % 3 == 0)
        return value_text(text, strlen(text), *time_ns);
    return value_number(draw(seed) % 4 == 0 ? RASAD_CHANGE : RASAD_NUMBER, number, *time_ns);
}

/* Whether two states are the same: to the byte, but for rate's rounding. */
static bool is_same(struct bench *bench, const void *a, const void *b)
{
    static struct points x, y;
    const struct rasad_plugin *api = &bench->plugin->api;

    if (strcmp(api->name, "rate") != 0)
        return memcmp(a, b, size_of(bench)) == 0;
    points_render(&x, api, bench->config, a, T0 + 1000 * S);
    points_render(&y, api, bench->config, b, T0 + 1000 * S);
    for (size_t i = 0; i < x.count && i < y.count; i++) {
        if (fabs(x.at[i].value - y.at[i].value) > 1e-12 * fabs(x.at[i].value))
            return false;
    }
    return x.count == y.count;
}

/* Feeds the same samples to `whole` and, in turns of random length, to the three parts. */
static void feed_parts(struct bench *bench, uint64_t *seed, void *whole, void *parts[3])
{
    int64_t time_ns = T0;

    for (int part = 0; part < 3; part++) {
        for (uint64_t left = draw(seed) % 100; left > 0; left--) {
            struct rasad_value value = draw_sample(seed, &time_ns);
            bool taken = takes(bench, whole, value);

            assert_int_equal(takes(bench, parts[part], value), taken);
        }
    }
    assert_true(bench->plugin->api.verify(bench->config, whole, size_of(bench)));
}

static void check_merging(const char *plugin)
{
    struct bench *bench = bench_new(plugin, NULL);

    for (uint64_t round = 0; round < 200; round++) {
        uint64_t seed = round;
        void *whole = bench_state(bench), *fresh = bench_state(bench);
        void *parts[3] = {bench_state(bench), bench_state(bench), bench_state(bench)};
        void *left, *right, *reverse;

        feed_parts(bench, &seed, whole, parts);
        left = copy_of(bench, parts[0]); /* (0 + 1) + 2 */
        merge(bench, left, parts[1]);
        merge(bench, left, parts[2]);
        right = copy_of(bench, parts[1]); /* 0 + (1 + 2) */
        merge(bench, right, parts[2]);
        reverse = copy_of(bench, right); /* (1 + 2) + 0 */
        merge(bench, reverse, parts[0]);
        merge(bench, parts[0], right);
        merge(bench, parts[0], fresh);
        merge(bench, fresh, whole);
        if (!is_same(bench, left, parts[0]) || !is_same(bench, left, reverse) ||
            !is_same(bench, left, whole) || !is_same(bench, fresh, whole))
            fail_msg("%s: round %llu merges into something else", plugin,
                     (unsigned long long)round);
        free(whole);
        free(fresh);
        free(left);
        free(right);
        free(reverse);
        for (int i = 0; i < 3; i++)
            free(parts[i]);
    }
    bench_free(bench);
}

static void test_parts_merge_into_the_whole_in_any_order(void **unused)
{
    check_merging("distinct");
    check_merging("rate");
    check_merging("top");
}

static void test_rubbish_is_no_state(void **unused)
{
    static const char *const names[] = {"distinct", "rate", "top"};

    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        struct bench *bench = bench_new(names[i], NULL);
        const struct rasad_plugin *api = &bench->plugin->api;

        assert_true(api->verify(bench->config, bench->state, size_of(bench)));
        assert_false(api->verify(bench->config, bench->state, size_of(bench) - 1));
        memset(bench->state, 0xff, size_of(bench)); /* NaN, texts without end, ranks of 255 */
        assert_false(api->verify(bench->config, bench->state, size_of(bench)));
        bench_free(bench);
    }
}

/* ---- distinct ------------------------------------------------------------------------------ */

/* What is shown after so many different values, as texts or as numbers. */
static double count_distinct(const char *precision, size_t count, unsigned set, bool texts)
{
    struct bench *distinct =
        bench_new("distinct", (struct setting[]){{"precision", precision}, {0}});
    double shown;

    for (size_t i = 0; i < count; i++) {
        char text[64];
        int length = snprintf(text, sizeof text, "user-%u-%zu", set, i);

        assert_null(
            texts ? bench_take(distinct, value_text(text, (size_t)length, T0))
                  : bench_take(distinct, value_number(RASAD_NUMBER, (double)i + set * 1e6, T0)));
    }
    (void)bench_render(distinct, T0);
    assert_int_equal(distinct->points.count, 1);
    shown = distinct->points.at[0].value;
    bench_free(distinct);
    return shown;
}

/* Of normally distributed estimates 1 in 370 is beyond three standard errors. With fewer
 * than 128 registers the 1.04 is rather 1.1. */
static void test_distinct_keeps_its_standard_error(void **unused)
{
    static const char *const precisions[] = {"8", "10", "12", "16"};
    static const size_t counts[] = {1, 10, 1000, 100000};
    enum { SETS = 20, ALL = SETS * sizeof precisions / sizeof *precisions };

    for (size_t k = 0; k < sizeof counts / sizeof *counts; k++) {
        double exact = (double)counts[k], squares = 0;
        int beyond = 0;

        for (unsigned i = 0; i < ALL; i++) {
            const char *precision = precisions[i / SETS];
            double error = exact * 1.04 / sqrt(pow(2, aggregate_number(precision)));
            double off = fabs(count_distinct(precision, counts[k], i, i % 2 == 0) - exact);

            beyond += off > 3 * error + 0.5; /* since a whole number is shown */
            squares += pow(fmax(0, off - 0.5) / error, 2);
        }
        if (beyond > 2 || sqrt(squares / ALL) > 1.2)
            fail_msg("%g values: %d sets beyond three standard errors, %g of them in the mean",
                     exact, beyond, sqrt(squares / ALL));
    }
}

static void test_distinct_of_nothing_is_nothing(void **unused)
{
    assert_true(count_distinct("12", 0, 0, true) == 0);
}

/* Where HyperLogLog of 2007 changes its formula, at 2.5 times 2^precision, it is some percent too
 * high in the mean. */
static void test_distinct_has_no_bias_between_small_and_large(void **unused)
{
    enum { SETS = 100, REGISTERS = 256 };
    static const double sizes[] = {0.5, 1, 2, 2.5, 3, 4, 5, 8};

    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        size_t count = (size_t)(sizes[i] * REGISTERS);
        double sum = 0, error = 1.04 / sqrt(REGISTERS);

        for (unsigned set = 0; set < SETS; set++)
            sum += count_distinct("8", count, set, true) / (double)count - 1;
        if (fabs(sum / SETS) > 3 * error / sqrt(SETS))
            fail_msg("%zu values are shown with a bias of %g", count, sum / SETS);
    }
}

static struct rasad_value value_digits(const char *text)
{
    struct rasad_value value = value_number(RASAD_NUMBER, aggregate_number(text), T0);

    value.text = text;
    value.length = strlen(text);
    return value;
}

static void test_distinct_tells_numbers_by_their_value(void **unused)
{
    static const struct {
        const char *a, *b; /* =: a JSON number; #: a string that is one; else a text */
        const char *shown;
    } cases[] = {
        {"=1", "#1", "1"},
        {"=1", "#1.0", "1"},
        {"#1e0", "#10e-1", "1"},
        {"=0", "#-0.0", "1"},
        {"#1", "#2", "2"},
        {"=0.1", "#0.10", "1"},
        {"=1", "#-1", "2"},
        {"a", "a", "1"},
        {"a", "A", "2"},
        {"", "a", "2"},
        {"a", "a ", "2"},
        {"", "=0", "2"},
        {"#9007199254740992", "#9007199254740993", "2"}, /* one double, but two ids */
        {"#9007199254740993", "#9007199254740993", "1"},
        {"=1e300", "#1e300", "1"},
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct bench *distinct = bench_new("distinct", NULL);

        for (int which = 0; which < 2; which++) {
            const char *text = which == 0 ? cases[i].a : cases[i].b;

            if (text[0] == '=')
                assert_null(bench_take(distinct,
                                       value_number(RASAD_NUMBER, aggregate_number(text + 1), T0)));
            else if (text[0] == '#')
                assert_null(bench_take(distinct, value_digits(text + 1)));
            else
                assert_null(bench_text(distinct, text));
        }
        if (strcmp(bench_render(distinct, T0), cases[i].shown) != 0)
            fail_msg("%s and %s are not %s", cases[i].a, cases[i].b, cases[i].shown);
        bench_free(distinct);
    }
}

static void test_distinct_refuses_changes(void **unused)
{
    struct bench *distinct = bench_new("distinct", NULL);

    assert_string_equal(bench_take(distinct, value_number(RASAD_CHANGE, 1, T0)),
                        "wants a value to tell from others, not a change");
    assert_non_null(bench_take(distinct, (struct rasad_value){.type = 99, .text = ""}));
    assert_string_equal(bench_render(distinct, T0), "0");
    bench_free(distinct);
}

static void test_distinct_never_falls(void **unused)
{
    struct bench *distinct = bench_new("distinct", (struct setting[]){{"precision", "4"}, {0}});
    double before = 0;

    for (int i = 0; i < 20000; i++) {
        assert_null(bench_take(distinct, value_number(RASAD_NUMBER, i, T0)));
        (void)bench_render(distinct, T0);
        assert_true(distinct->points.at[0].value >= before);
        before = distinct->points.at[0].value;
    }
    bench_free(distinct);
}

/* ---- top ----------------------------------------------------------------------------------- */

enum { TEXTS = 5000, TOP_SLOTS = 256 };

/* A rank from 0, each 1/(rank+1) as likely as the first (Zipf's law), but for the end. */
static size_t draw_rank(uint64_t *seed)
{
    double u = (double)(draw(seed) >> 11) * 0x1p-53;

    return (size_t)(pow(TEXTS + 1, u) - 1);
}

/* The text of a rank; the alphabet doesn't know which one that is. */
static struct rasad_value value_rank(size_t rank)
{
    static char text[32];

    (void)snprintf(text, sizeof text, "/%zx", rank * 2654435761u % 65536);
    return value_text(text, strlen(text), T0);
}

/* The counts shown are those of the most frequent ranks, in order, and not further off than Space-
 * Saving's bound. */
static void check_top(struct bench *top, const uint64_t *counts, uint64_t samples, size_t k)
{
    (void)bench_render(top, T0);
    assert_int_equal(top->points.count, 2 * k);
    for (size_t rank = 0; rank < k; rank++) {
        const struct rasad_point *label = &top->points.at[2 * rank], *point = label + 1;

        assert_string_equal(label->label.value, value_rank(rank).text);
        assert_int_equal(point->whole, 1);
        assert_in_range(point->count, counts[rank], counts[rank] + samples / TOP_SLOTS);
    }
}

static void test_top_finds_the_most_frequent_of_a_stream(void **unused)
{
    enum { SAMPLES = 200000, K = 10, SHARDS = 3 };
    static uint64_t counts[TEXTS];
    struct bench *top = bench_new("top", NULL);
    void *shards[SHARDS] = {bench_state(top), bench_state(top), bench_state(top)};
    void *reverse;
    uint64_t seed = 7;

    for (int i = 0; i < SAMPLES; i++) {
        size_t rank = draw_rank(&seed);

        counts[rank]++;
        assert_null(bench_take(top, value_rank(rank)));
        assert_true(takes(top, shards[draw(&seed) % SHARDS], value_rank(rank)));
    }
    check_top(top, counts, SAMPLES, K);
    /* And so do shards that each saw a part, in either order to the byte. */
    reverse = copy_of(top, shards[1]);
    merge(top, reverse, shards[0]);
    merge(top, shards[0], shards[1]);
    assert_memory_equal(shards[0], reverse, size_of(top));
    merge(top, shards[0], shards[2]);
    memcpy(top->state, shards[0], size_of(top));
    check_top(top, counts, SAMPLES, K);
    for (int i = 0; i < SHARDS; i++)
        free(shards[i]);
    free(reverse);
    bench_free(top);
}

/* What a reader saw of each rank before; none of them may fall. */
static void check_rising(struct bench *top, const void *state, uint64_t *seen)
{
    points_render(&top->points, &top->plugin->api, top->config, state, T0);
    for (size_t i = 0; i < top->points.count; i += 2) {
        unsigned long rank = strtoul(top->points.at[i].label.value, NULL, 10);
        uint64_t count = top->points.at[i + 1].count;

        if (count < seen[rank])
            fail_msg("\"%lu\" fell from %llu to %llu", rank, (unsigned long long)seen[rank],
                     (unsigned long long)count);
        seen[rank] = count;
    }
}

/* With so many texts that slots change hands all the time, in favour of one and then another. */
static void test_top_never_falls_though_slots_change_hands(void **unused)
{
    enum { RANKS = 700, STEPS = 12000 };
    struct bench *top = bench_new("top", (struct setting[]){{"k", "64"}, {0}});
    void *shards[3] = {bench_state(top), bench_state(top), bench_state(top)};
    static uint64_t seen[4][RANKS];
    uint64_t seed = 3;

    for (int step = 0; step < STEPS; step++) {
        uint64_t rank =
            (draw(&seed) % 4 == 0 ? draw(&seed) : draw(&seed) % 90 + (uint64_t)step) % RANKS;
        void *shard = shards[draw(&seed) % 3], *merged;

        assert_true(takes(top, shard, value_number(RASAD_NUMBER, (double)rank, T0)));
        if (step % 8 != 0)
            continue;
        merged = copy_of(top, shards[0]);
        for (int i = 0; i < 3; i++)
            check_rising(top, shards[i], seen[i]);
        merge(top, merged, shards[1]);
        merge(top, merged, shards[2]);
        check_rising(top, merged, seen[3]);
        free(merged);
    }
    for (int i = 0; i < 3; i++)
        free(shards[i]);
    bench_free(top);
}

static void test_top_is_exact_up_to_its_slots(void **unused)
{
    struct bench *top = bench_new("top", (struct setting[]){{"k", "3"}, {0}});
    void *other = bench_state(top);

    for (int i = 0; i < TOP_SLOTS; i++) {
        for (int times = 0; times <= i / 2; times++) /* always two as often as each other */
            assert_null(bench_take(top, value_number(RASAD_NUMBER, i, T0)));
        assert_true(takes(top, other, value_number(RASAD_NUMBER, i, T0)));
    }
    assert_string_equal(bench_render(top, T0), "value=254 128 value=255 128 value=252 127");
    merge(top, top->state, other);
    assert_string_equal(bench_render(top, T0), "value=254 129 value=255 129 value=252 128");
    /* One text more takes the slot of the rarest: 0 and 1 came twice, and 1 is last. */
    assert_null(bench_text(top, "new"));
    assert_true(top->plugin->api.verify(top->config, top->state, size_of(top)));
    assert_null(bench_take(top, value_number(RASAD_NUMBER, 254, T0)));
    assert_string_equal(bench_render(top, T0), "value=254 130 value=255 129 value=252 128");
    free(other);
    bench_free(top);
}

static void test_top_adds_up_what_two_states_have_missed(void **unused)
{
    struct bench *top = bench_new("top", (struct setting[]){{"k", "3"}, {0}});
    void *same, *other = bench_state(top);

    for (int i = 0; i <= TOP_SLOTS; i++) /* the last makes each miss a text that came once */
        assert_null(bench_take(top, value_number(RASAD_NUMBER, i, T0)));
    same = copy_of(top, top->state);
    merge(top, top->state, same);
    assert_true(takes(top, other, value_rank(0)));
    merge(top, top->state, other);
    assert_string_equal(bench_render(top, T0), "value=256 4 value=/0 3 value=0 2");
    free(same);
    free(other);
    bench_free(top);
}

static void test_top_counts_numbers_as_texts(void **unused)
{
    static const double numbers[] = {0.1, 404, -1.5, 1e21, 0.30000000000000004};
    struct bench *top = bench_new("top", (struct setting[]){{"label", "status"}, {0}});

    assert_string_equal(bench_render(top, T0), "");
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        for (size_t times = i; times < sizeof numbers / sizeof *numbers; times++)
            assert_null(bench_take(top, value_number(RASAD_NUMBER, numbers[i], T0)));
    }
    assert_null(bench_take(top, value_digits("404")));   /* a string is as good */
    assert_null(bench_take(top, value_digits("404.0"))); /* another text */
    assert_string_equal(bench_render(top, T0),
                        "status=0.1 5 status=404 5 status=-1.5 3 status=1e+21 2 "
                        "status=0.30000000000000004 1 status=404.0 1");
    bench_free(top);
}

static void test_top_refuses_what_fits_no_label(void **unused)
{
    char text[121];
    struct bench *top = bench_new("top", NULL);

    memset(text, 'x', sizeof text);
    assert_string_equal(bench_text(top, ""), "wants a text of 1 to 119 bytes, got 0");
    assert_string_equal(bench_take(top, value_text("a\0b", 3, T0)),
                        "a text with a NUL can't be a label's value");
    assert_string_equal(bench_take(top, value_number(RASAD_CHANGE, 1, T0)),
                        "wants a text to count, not a change");
    text[120] = '\0';
    assert_string_equal(bench_text(top, text), "wants a text of 1 to 119 bytes, got 120");
    assert_string_equal(bench_render(top, T0), "");
    text[119] = '\0';
    assert_null(bench_text(top, text));
    assert_int_equal(top->points.count, 0);
    (void)bench_render(top, T0);
    assert_string_equal(top->points.at[0].label.value, text);
    bench_free(top);
}

static void test_top_stays_at_the_end_of_its_counts(void **unused)
{
    struct bench *top = bench_new("top", NULL);
    uint64_t count = UINT64_MAX;

    assert_null(bench_text(top, "a"));
    memcpy((char *)top->state + 8, &count, sizeof count); /* the first slot's, behind `missed` */
    assert_true(top->plugin->api.verify(top->config, top->state, size_of(top)));
    assert_null(bench_text(top, "a"));
    assert_string_equal(bench_render(top, T0), "value=a 18446744073709551615");
    bench_free(top);
}

static void test_top_checks_its_label(void **unused)
{
    static const char *const bad[] = {"",         "9a",  "_a",       "a-b",      "a b",     "le",
                                      "quantile", "job", "instance", "overflow", "\xc3\xa9"};
    static const char *const good[] = {"value", "Z", "a_9", "lep"};
    struct bench *top = bench_new("top", NULL);

    for (size_t i = 0; i < sizeof bad / sizeof *bad + sizeof good / sizeof *good; i++) {
        bool fine = i >= sizeof bad / sizeof *bad;
        const char *label = fine ? good[i - sizeof bad / sizeof *bad] : bad[i];
        struct rasad_error error = {""};
        void *config;

        if (aggregate_configure(&top->plugin->api, (struct setting[]){{"label", label}, {0}},
                                &config, &error) != fine)
            fail_msg("label \"%s\" is %s", label, fine ? error.text : "taken");
        aggregate_release(&top->plugin->api, config);
    }
    bench_free(top);
}

/* ---- rate ---------------------------------------------------------------------------------- */

static const double windows_s[] = {60, 300, 900};

static void check_rates(struct bench *rate, const struct step *steps, size_t count, int64_t second)
{
    static const char *const labels[] = {"1m", "5m", "15m"};

    (void)bench_render(rate, T0 + second * S);
    assert_int_equal(rate->points.count, 6);
    for (size_t w = 0; w < 3; w++) {
        const struct rasad_point *label = &rate->points.at[2 * w], *point = label + 1;
        double exact = 0;

        for (size_t i = 0; i < count; i++)
            exact += steps[i].number * exp((double)(steps[i].second - second) / windows_s[w]);
        exact /= windows_s[w];
        assert_string_equal(label->label.name, "window");
        assert_string_equal(label->label.value, labels[w]);
        if (fabs(point->value - exact) > 1e-12 * exact)
            fail_msg("%s: %.17g is not %.17g", labels[w], point->value, exact);
    }
}

static void test_rate_is_the_formula_whatever_the_order(void **unused)
{
    enum { SAMPLES = 500 };
    static struct step steps[SAMPLES];
    struct bench *rate = bench_new("rate", NULL);
    uint64_t seed = 11;

    check_rates(rate, NULL, 0, 0);
    for (size_t i = 0; i < SAMPLES; i++)
        steps[i] = (struct step){.type = draw(&seed) % 2 == 0 ? '+' : '=',
                                 .number = (double)(draw(&seed) % 1000) / 8,
                                 .second = (int64_t)(draw(&seed) % 3000)};
    bench_feed(rate, steps, SAMPLES);
    check_rates(rate, steps, SAMPLES, 3000);
    check_rates(rate, steps, SAMPLES, 9000);
    bench_free(rate);
}

static void test_a_steady_rate_is_shown_as_it_is(void **unused)
{
    struct bench *rate = bench_new("rate", NULL);

    for (int64_t second = 1; second <= 7200; second++)
        bench_feed(rate, &(struct step){'=', 20, second}, 1);
    (void)bench_render(rate, T0 + 7200 * S);
    for (size_t w = 0; w < 3; w++)
        assert_true(fabs(rate->points.at[2 * w + 1].value / 20 - 1) < 0.01);
    bench_free(rate);
}

static void test_a_sample_ahead_of_the_clock_is_as_of_now(void **unused)
{
    struct bench *rate = bench_new("rate", NULL);

    bench_feed(rate, &(struct step){'=', 60, 300}, 1);
    (void)bench_render(rate, T0);
    assert_true(rate->points.at[1].value == 1);
    bench_free(rate);
}

static void test_rate_refuses_what_did_not_happen(void **unused)
{
    struct bench *rate = bench_new("rate", NULL);

    assert_string_equal(bench_text(rate, "fast"), "wants a number, got \"fast\"");
    assert_string_equal(bench_take(rate, value_number(RASAD_NUMBER, -1, T0)),
                        "wants how much happened, from 0, got -1");
    assert_string_equal(bench_take(rate, value_number(RASAD_CHANGE, -1, T0)),
                        "wants how much happened, from 0, got -1");
    assert_string_equal(bench_render(rate, T0), "window=1m 0 window=5m 0 window=15m 0");
    bench_free(rate);
}

static void test_rate_forgets_in_the_end(void **unused)
{
    struct bench *rate = bench_new("rate", NULL);

    assert_string_equal(bench_take(rate, value_number(RASAD_NUMBER, 0x1p64, T0)),
                        "1.84467e+19 is too much for a rate");
    bench_feed(rate, &(struct step){'=', 0x1p63, 0}, 1);
    (void)bench_render(rate, T0);
    assert_true(rate->points.at[1].value == 0x1p63 / 60);
    /* After 10 hours e^-600 of it is left, which is a double, but less than anyone can mean. */
    (void)bench_render(rate, T0 + 36000 * S);
    assert_true(rate->points.at[1].value == 0 && rate->points.at[3].value > 0);
    (void)bench_render(rate, T0 + 365 * 86400 * S);
    assert_true(rate->points.at[5].value == 0);
    bench_free(rate);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parts_merge_into_the_whole_in_any_order),
        cmocka_unit_test(test_rubbish_is_no_state),
        cmocka_unit_test(test_distinct_keeps_its_standard_error),
        cmocka_unit_test(test_distinct_of_nothing_is_nothing),
        cmocka_unit_test(test_distinct_has_no_bias_between_small_and_large),
        cmocka_unit_test(test_distinct_tells_numbers_by_their_value),
        cmocka_unit_test(test_distinct_refuses_changes),
        cmocka_unit_test(test_distinct_never_falls),
        cmocka_unit_test(test_top_finds_the_most_frequent_of_a_stream),
        cmocka_unit_test(test_top_never_falls_though_slots_change_hands),
        cmocka_unit_test(test_top_is_exact_up_to_its_slots),
        cmocka_unit_test(test_top_adds_up_what_two_states_have_missed),
        cmocka_unit_test(test_top_counts_numbers_as_texts),
        cmocka_unit_test(test_top_refuses_what_fits_no_label),
        cmocka_unit_test(test_top_stays_at_the_end_of_its_counts),
        cmocka_unit_test(test_top_checks_its_label),
        cmocka_unit_test(test_rate_is_the_formula_whatever_the_order),
        cmocka_unit_test(test_a_steady_rate_is_shown_as_it_is),
        cmocka_unit_test(test_a_sample_ahead_of_the_clock_is_as_of_now),
        cmocka_unit_test(test_rate_refuses_what_did_not_happen),
        cmocka_unit_test(test_rate_forgets_in_the_end),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
