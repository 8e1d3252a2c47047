/* SPDX-License-Identifier: Apache-2.0 */
/* What five of our plugins make of their samples and options. The three sketches are in
 * test_sketches.c, the laws in test_laws.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <stdio.h>

#include "base/text.h"
#include "bench.h"

/* ---- gauge --------------------------------------------------------------------------------- */

static void test_gauge_shows_the_latest_and_its_changes(void **unused)
{
    static const struct {
        struct step steps[4];
        const char *shows;
    } cases[] = {
        {{{0}}, ""},                                     /* nobody ever set it: nothing */
        {{{'=', 0.1, 0}}, "0.10000000000000001"},        /* as it came */
        {{{'=', 1, 0}, {'=', 2, 1}}, "2"},               /* the later */
        {{{'=', 2, 1}, {'=', 1, 0}}, "2"},               /* the later sample, not arrival */
        {{{'=', 2, 1}, {'=', 1, 1}}, "1"},               /* the sender's order at one time */
        {{{'=', 5, 0}, {'+', 2, 1}, {'+', -3, 2}}, "4"}, /* changes add to the set */
        {{{'+', 2, 0}, {'+', -5, 1}}, "-3"},             /* or to 0 before any set */
        {{{'+', 2, 0}, {'=', 7, 1}}, "7"},               /* a set replaces them */
        {{{'+', 2, 5}, {'=', 7, 1}}, "9"},               /* unless it is the older */
        {{{'+', 2, 0}, {'+', -2, 0}}, "0"},              /* changed back is not never changed */
        {{{'=', 7, 5}, {'+', 1, 4}}, "8"},               /* a change is never lost */
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct bench *gauge = bench_new("gauge", NULL);

        bench_feed(gauge, cases[i].steps, 4);
        assert_string_equal(bench_render(gauge, T0), cases[i].shows);
        bench_free(gauge);
    }
}

static void test_gauge_merges_by_time(void **unused)
{
    static const struct {
        struct step a[3], b[3];
        const char *shows; /* whichever is merged into the other */
    } cases[] = {
        {{{'=', 1, 0}}, {{'=', 2, 1}}, "2"},              /* the later set wins */
        {{{'=', 1, 0}}, {{'=', 2, 0}}, "2"},              /* the greater of two at once */
        {{{'=', 5, 0}}, {{'+', 1, 1}, {'+', 2, 2}}, "8"}, /* changes on another's set */
        {{{'+', 5, 0}}, {{'=', 1, 1}, {'+', 2, 2}}, "3"}, /* a set overwrites another's changes */
        {{{'+', 5, 0}}, {{'+', -1, 1}}, "4"},             /* nothing was set */
        {{{'=', 1, 0}, {'+', 9, 1}}, {{'=', 2, 2}}, "2"}, /* changes go with their set */
        {{{'=', 1, 0}}, {{0}}, "1"},                      /* nothing to merge */
    };

    for (size_t i = 0; i < 2 * sizeof cases / sizeof *cases; i++) {
        struct bench *gauge = bench_new("gauge", NULL);
        void *other = gauge->state;

        bench_feed(gauge, i % 2 == 0 ? cases[i / 2].a : cases[i / 2].b, 3);
        gauge->state = bench_state(gauge);
        bench_feed(gauge, i % 2 == 0 ? cases[i / 2].b : cases[i / 2].a, 3);
        gauge->plugin->api.merge(gauge->config, gauge->state, other);
        assert_string_equal(bench_render(gauge, T0), cases[i / 2].shows);
        free(other);
        bench_free(gauge);
    }
}

static void test_gauge_refuses_what_is_no_number(void **unused)
{
    struct bench *gauge = bench_new("gauge", NULL);

    assert_string_equal(bench_text(gauge, "fast"), "wants a number, got \"fast\"");
    assert_null(bench_take(gauge, value_number(RASAD_NUMBER, 1e308, T0)));
    assert_null(bench_take(gauge, value_number(RASAD_CHANGE, 0.7e308, T0)));
    assert_null(bench_take(gauge, value_number(RASAD_CHANGE, -1, T0)));
    assert_string_equal(bench_take(gauge, value_number(RASAD_CHANGE, 1.7e308, T0)),
                        "adding 1.7e+308 makes it infinite");
    assert_non_null(bench_take(gauge, (struct rasad_value){.type = 99, .text = ""}));
    bench_free(gauge);
}

/* ---- counter ------------------------------------------------------------------------------- */

static void test_counter_adds_exactly(void **unused)
{
    static const struct {
        double add[4];
        const char *shows;
    } cases[] = {
        {{0}, "0"},                                               /* fresh */
        {{1, 1, 1}, "3"},                                         /* whole */
        {{9007199254740992, 1, 1}, "9007199254740994"},           /* beyond 2^53 */
        {{0.25, 0.5}, "0.75"},                                    /* a fraction */
        {{0.5, 0.25, 0.25}, "1"},                                 /* that carries */
        {{18446744073709549568.0, 2047}, "18446744073709551615"}, /* up to the end */
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct bench *counter = bench_new("counter", NULL);

        for (int k = 0; k < 4; k++)
            assert_null(bench_take(counter, value_number(k % 2 == 0 ? RASAD_NUMBER : RASAD_CHANGE,
                                                         cases[i].add[k], T0)));
        assert_string_equal(bench_render(counter, T0), cases[i].shows);
        bench_free(counter);
    }
}

static void test_counter_does_not_drift(void **unused)
{
    struct bench *counter = bench_new("counter", NULL);

    for (int i = 0; i < 1000000; i++) /* plain doubles end at 100000.00000133288 */
        assert_null(bench_take(counter, value_number(RASAD_NUMBER, 0.1, T0)));
    (void)bench_render(counter, T0);
    assert_true(fabs(counter->points.at[0].value - 100000) < 1e-10);
    bench_free(counter);
}

static void test_counter_refuses_to_go_down(void **unused)
{
    struct bench *counter = bench_new("counter", NULL);

    assert_string_equal(bench_take(counter, value_number(RASAD_NUMBER, -1, T0)),
                        "a counter only goes up, got -1");
    assert_non_null(bench_take(counter, value_number(RASAD_CHANGE, -1e-300, T0)));
    assert_non_null(bench_take(counter, value_number(RASAD_NUMBER, NAN, T0)));
    assert_non_null(bench_take(counter, value_number(RASAD_NUMBER, INFINITY, T0)));
    assert_non_null(bench_take(counter, value_number(RASAD_NUMBER, 0x1p64, T0)));
    assert_non_null(bench_text(counter, "many"));
    assert_null(bench_take(counter, value_number(RASAD_NUMBER, -0.0, T0)));
    assert_string_equal(bench_render(counter, T0), "0");
    bench_free(counter);
}

static void test_counter_stays_at_its_end(void **unused)
{
    struct bench *counter = bench_new("counter", NULL);
    void *copy = bench_state(counter);

    assert_null(bench_take(counter, value_number(RASAD_NUMBER, 0x1p63, T0)));
    assert_non_null(bench_take(counter, value_number(RASAD_NUMBER, 0x1p63, T0)));
    memcpy(copy, counter->state, counter->plugin->api.state_size(counter->config));
    counter->plugin->api.merge(counter->config, counter->state, copy);
    (void)bench_render(counter, T0);
    assert_true(counter->points.at[0].value == 0x1p64);
    free(copy);
    bench_free(counter);
}

/* ---- letter_counter ------------------------------------------------------------------------ */

static void test_letter_counter_counts_letters(void **unused)
{
    static const struct {
        const char *letters, *text;
        const char *shows;
    } cases[] = {
        {"aA", "banana Ana", "5"},
        {"aA", "", "0"},                                 /* no letter, and no reason to refuse */
        {"aa", "a", "1"},                                /* a letter counts once */
        {"\xc3\xa9", "\xc3\xa9t\xc3\xa9", "2"},          /* two bytes, one letter */
        {"\xc3\xa9", "\xc3\xa8\xc2\xa9", "0"},           /* half of it is none */
        {"\xf0\x9f\x98\x80z", "z\xf0\x9f\x98\x80", "2"}, /* beyond the BMP */
        {"1", "1x", "1"},                                /* a digit in a text is a letter too */
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct bench *counter =
            bench_new("letter_counter", (struct setting[]){{"letters", cases[i].letters}, {0}});

        assert_null(bench_text(counter, cases[i].text));
        assert_string_equal(bench_render(counter, T0), cases[i].shows);
        bench_free(counter);
    }
}

static void test_letter_counter_adds_numbers(void **unused)
{
    struct bench *counter = bench_new("letter_counter", (struct setting[]){{"letters", "aA"}, {0}});

    for (int i = 0; i < 10; i++)
        assert_null(bench_take(counter, value_number(RASAD_NUMBER, 1, T0)));
    assert_string_equal(bench_render(counter, T0), "10");
    assert_null(bench_take(counter, value_number(RASAD_CHANGE, 2, T0)));
    assert_null(bench_take(counter, value_text("a\0a", 3, T0)));
    assert_string_equal(bench_render(counter, T0), "14");
    assert_string_equal(bench_take(counter, value_number(RASAD_NUMBER, 1.5, T0)),
                        "wants a whole number of letters from 0, got 1.5");
    assert_non_null(bench_take(counter, value_number(RASAD_NUMBER, -1, T0)));
    assert_non_null(bench_take(counter, value_number(RASAD_CHANGE, -1, T0)));
    assert_non_null(bench_take(counter, value_number(RASAD_NUMBER, 0x1p64, T0)));
    assert_string_equal(bench_render(counter, T0), "14");
    bench_free(counter);
}

/* ---- histogram ----------------------------------------------------------------------------- */

static void test_histogram_bounds_are_inclusive(void **unused)
{
    struct bench *histogram =
        bench_new("histogram", (struct setting[]){{"buckets", "0.1, 1, 10"}, {0}});
    static const double samples[] = {0.05, 0.1, 1, 1.5, 10, 11, -3};

    assert_string_equal(bench_render(histogram, T0), "0.1:0 1:0 10:0 inf:0 sum 0 count 0");
    for (size_t i = 0; i < sizeof samples / sizeof *samples; i++)
        assert_null(bench_take(histogram, value_number(RASAD_NUMBER, samples[i], T0)));
    assert_string_equal(bench_render(histogram, T0),
                        "0.1:3 1:4 10:6 inf:7 sum 20.649999999999999 count 7");
    bench_free(histogram);
}

static void test_histogram_finds_each_of_many_buckets(void **unused)
{
    struct text bounds = {0};
    struct bench *histogram;

    for (int i = 1; i <= 1000; i++)
        text_printf(&bounds, "%d, ", i);
    histogram = bench_new("histogram", (struct setting[]){{"buckets", text_end(&bounds)}, {0}});
    for (int i = 0; i < 1000; i++)
        assert_null(bench_take(histogram, value_number(RASAD_NUMBER, i + 0.5, T0)));
    (void)bench_render(histogram, T0);
    for (size_t i = 0; i < 1000; i++)
        assert_int_equal(histogram->points.at[i].count, i + 1);
    bench_free(histogram);
    text_free(&bounds);
}

static void test_histogram_refuses(void **unused)
{
    struct bench *histogram = bench_new("histogram", NULL);

    assert_string_equal(bench_text(histogram, "fast"), "wants a number, got \"fast\"");
    assert_string_equal(bench_take(histogram, value_number(RASAD_CHANGE, 1, T0)),
                        "a histogram can't be changed by \"add\" (send the value)");
    assert_null(bench_take(histogram, value_number(RASAD_NUMBER, 1.7e308, T0)));
    assert_non_null(bench_take(histogram, value_number(RASAD_NUMBER, 1.7e308, T0)));
    bench_free(histogram);
}

/* ---- summary ------------------------------------------------------------------------------- */

static int compare_numbers(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

/* Numbers of many sizes and both signs, the same in each run. */
static void draw_numbers(double *numbers, size_t count, int decades, bool signs)
{
    uint64_t state = 42;

    for (size_t i = 0; i < count; i++) {
        state = state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        numbers[i] = pow(10, (double)(state >> 40) / 0x1p24 * decades - 3);
        if (signs && (state >> 20) % 3 == 0)
            numbers[i] = -numbers[i];
    }
}

static void check_quantiles(const char *error, int decades, bool signs)
{
    enum { COUNT = 20000 };
    static double numbers[COUNT];
    struct bench *summary = bench_new(
        "summary", (struct setting[]){{"error", error},
                                      {"quantiles", "0, 0.01, 0.1, 0.25, 0.5, 0.75, 0.9, 0.99, 1"},
                                      {0}});
    double bound = aggregate_number(error) * (1 + 1e-9);

    draw_numbers(numbers, COUNT, decades, signs);
    for (size_t i = 0; i < COUNT; i++)
        assert_null(bench_take(summary,
                               value_number(RASAD_NUMBER, numbers[i], T0 + (int64_t)i * 10000000)));
    qsort(numbers, COUNT, sizeof *numbers, compare_numbers);
    (void)bench_render(summary, T0 + 200 * S);
    for (size_t i = 0; i + 1 < summary->points.count; i++) {
        const struct rasad_point *p = &summary->points.at[i];
        double rank = fmax(1, ceil(p->bound * COUNT * (1 - 1e-12)));
        double exact = numbers[(size_t)rank - 1];

        if (!(fabs(p->value - exact) <= bound * fabs(exact)))
            fail_msg("error %s, quantile %g: %g is too far from %g", error, p->bound, p->value,
                     exact);
    }
    bench_free(summary);
}

static void test_summary_quantiles_are_within_the_error(void **unused)
{
    static const char *const errors[] = {"0.001", "0.01", "0.1", "0.25"};

    for (size_t i = 0; i < sizeof errors / sizeof *errors; i++) {
        check_quantiles(errors[i], 3, false);
        check_quantiles(errors[i], 8, false); /* all that one sign may span */
        check_quantiles(errors[i], 4, true);  /* all that two may */
    }
}

static void test_summary_small_sizes_become_zero(void **unused)
{
    struct bench *summary =
        bench_new("summary", (struct setting[]){{"quantiles", "0.3, 0.5"}, {0}});

    assert_null(bench_take(summary, value_number(RASAD_NUMBER, -1, T0)));
    assert_null(bench_take(summary, value_number(RASAD_NUMBER, 1e-300, T0)));
    assert_null(bench_take(summary, value_number(RASAD_NUMBER, 1e300, T0)));
    assert_string_equal(bench_render(summary, T0),
                        "0.3:0 0.5:0 sum 1.0000000000000001e+300 count 3");
    bench_free(summary);
}

static void test_summary_takes_the_ends_of_double(void **unused)
{
    static const double ends[] = {1.7976931348623157e308, -1.7976931348623157e308, 5e-324, 0, -0.0,
                                  2.2250738585072014e-308};
    struct bench *summary =
        bench_new("summary", (struct setting[]){{"quantiles", "0, 1"}, {"error", "0.25"}, {0}});

    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++)
        assert_null(bench_take(summary, value_number(RASAD_NUMBER, ends[i], T0)));
    (void)bench_render(summary, T0);
    assert_true(fabs(summary->points.at[0].value / ends[1] - 1) <= 0.25);
    assert_true(fabs(summary->points.at[1].value / ends[0] - 1) <= 0.25);
    bench_free(summary);
}

static void test_summary_window_slides(void **unused)
{
    static const struct {
        int64_t second;
        const char *shows;
    } looks[] = {
        {0, "0.5:3 1:4 sum 7 count 2"},       /* a sender's clock may run ahead */
        {60, "0.5:3 1:4 sum 7 count 2"},      /* both are in the window */
        {69, "0.5:3 1:4 sum 7 count 2"},      /* 7/8 of it are sure */
        {80, "0.5:4 1:4 sum 7 count 2"},      /* only the sample of second 60 is left */
        {129, "0.5:4 1:4 sum 7 count 2"},     /* and sure for as long */
        {140, "0.5:nan 1:nan sum 7 count 2"}, /* no recent sample; totals stay */
    };
    struct bench *summary =
        bench_new("summary", (struct setting[]){{"quantiles", "0.5, 1"}, {"window", "80s"}, {0}});

    assert_string_equal(bench_render(summary, T0), "0.5:nan 1:nan sum 0 count 0");
    bench_feed(summary, (struct step[]){{'=', 3, 0}, {'=', 4, 60}}, 2);
    for (size_t i = 0; i < sizeof looks / sizeof *looks; i++)
        assert_string_equal(bench_render(summary, T0 + looks[i].second * S), looks[i].shows);
    bench_free(summary);
}

static void test_summary_late_samples_count_in_the_totals(void **unused)
{
    struct bench *summary =
        bench_new("summary", (struct setting[]){{"quantiles", "1"}, {"window", "80s"}, {0}});

    assert_null(bench_take(summary, value_number(RASAD_NUMBER, 3, T0)));
    assert_null(bench_take(summary, value_number(RASAD_NUMBER, 9, T0 - 80 * S)));
    assert_string_equal(bench_render(summary, T0), "1:3 sum 12 count 2");
    bench_free(summary);
}

static void test_summary_times_before_1970_have_a_slice(void **unused)
{
    struct bench *summary =
        bench_new("summary", (struct setting[]){{"quantiles", "1"}, {"window", "80s"}, {0}});

    assert_null(bench_take(summary, value_number(RASAD_NUMBER, 3, -1)));
    assert_string_equal(bench_render(summary, 0), "1:3 sum 3 count 1");
    bench_free(summary);
}

static void test_summary_is_bounded(void **unused)
{
    struct bench *usual = bench_new("summary", NULL);
    struct bench *finest = bench_new("summary", (struct setting[]){{"error", "0.001"}, {0}});

    assert_true(usual->plugin->api.state_size(usual->config) <= 32 << 10);
    assert_true(finest->plugin->api.state_size(finest->config) <= 512 << 10);
    bench_free(usual);
    bench_free(finest);
}

/* ---- Options and states from outside ------------------------------------------------------- */

static void test_bad_options_are_refused(void **unused)
{
    static const struct {
        const char *plugin;
        struct setting settings[2];
        const char *why; /* NULL: it is fine */
    } cases[] = {
        {"letter_counter",
         {{"letters", ""}},
         "letters is empty (write the letters to count, such as \"aA\")"},
        {"letter_counter", {{"letters", "a\xe9"}}, "letters is not UTF-8 (save the file as UTF-8)"},
        {"letter_counter",
         {{"letters", "\xed\xa0\x80"}}, /* a surrogate */
         "letters is not UTF-8 (save the file as UTF-8)"},
        {"letter_counter",
         {{"letters", "\xc0\x80"}}, /* overlong */
         "letters is not UTF-8 (save the file as UTF-8)"},
        {"letter_counter",
         {{"letters", "\xf4\x90\x80\x80"}}, /* above U+10FFFF */
         "letters is not UTF-8 (save the file as UTF-8)"},
        {"letter_counter", {{"letters", "\xf4\x8f\xbf\xbf"}}, NULL}, /* U+10FFFF itself */
        {"histogram",
         {{"buckets", "1, 0.1"}},
         "buckets must rise, but 0.1 follows 1 (write the smallest first)"},
        {"histogram",
         {{"buckets", "1, 1"}},
         "buckets must rise, but 1 follows 1 (write the smallest first)"},
        {"histogram", {{"buckets", ""}}, "buckets has 0 bounds (write 1 to 1000)"},
        {"histogram",
         {{"buckets", "inf, 1"}},
         "buckets must be finite, but one is inf (only the last may be inf)"},
        {"histogram", {{"buckets", "1, inf"}}, NULL},
        {"histogram", {{"buckets", "inf"}}, NULL}, /* count and sum only */
        {"summary",
         {{"quantiles", "0.9, 0.5"}},
         "quantiles must rise, but 0.5 follows 0.9 (write the smallest first)"},
        {"summary", {{"quantiles", ""}}, NULL}, /* as client libraries do by default */
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct plugin *plugin = load(cases[i].plugin);
        struct rasad_error error = {""};
        void *config;
        bool fine = aggregate_configure(&plugin->api, cases[i].settings, &config, &error);

        assert_string_equal(fine ? "fine" : error.text,
                            cases[i].why == NULL ? "fine" : cases[i].why);
        aggregate_release(&plugin->api, config);
        plugin_unref(plugin);
    }
}

static void test_bytes_of_another_size_are_no_state(void **unused)
{
    static const char *const names[] = {"gauge", "counter", "histogram", "summary"};

    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        struct bench *bench = bench_new(names[i], NULL);
        const struct rasad_plugin *api = &bench->plugin->api;
        size_t size = api->state_size(bench->config);

        assert_true(api->verify(bench->config, bench->state, size));
        assert_false(api->verify(bench->config, bench->state, size - 1));
        bench_free(bench);
    }
}

static void test_a_summary_of_rubbish_is_no_state(void **unused)
{
    struct bench *bench = bench_new("summary", NULL);
    size_t size = bench->plugin->api.state_size(bench->config);

    memset(bench->state, 0x5a, size);
    assert_false(bench->plugin->api.verify(bench->config, bench->state, size));
    bench_free(bench);
}

/* ---- What the files need ------------------------------------------------------------------- */

#ifndef SANITIZED
/* Whether a name in `nm -D` of a plugin is of libc or libm, or of the compiler's own start code. */
static bool is_of_libc(const char *symbol)
{
    static const char *const start[] = {"__gmon_start__", "__cxa_finalize",
                                        "_ITM_deregisterTMCloneTable", "_ITM_registerTMCloneTable"};

    for (size_t i = 0; i < sizeof start / sizeof *start; i++) {
        if (strncmp(symbol, start[i], strlen(start[i])) == 0)
            return true;
    }
    return strstr(symbol, "@GLIBC_") != NULL;
}

static void test_plugins_need_libc_and_libm_only(void **unused)
{
    FILE *nm = popen("nm -D --undefined-only " PLUGINS "/*.so", "r");
    char line[1024];
    int symbols = 0;

    assert_non_null(nm);
    while (fgets(line, sizeof line, nm) != NULL) {
        char type, symbol[256];

        if (sscanf(line, " %c %255s", &type, symbol) != 2 || line[0] != ' ')
            continue; /* a file's name */
        symbols++;
        if (!is_of_libc(symbol))
            fail_msg("a plugin needs %s", symbol);
    }
    assert_int_equal(pclose(nm), 0);
    assert_true(symbols > 10);
}

static void test_plugins_export_one_symbol(void **unused)
{
    FILE *nm = popen("nm -D --defined-only " PLUGINS "/gauge.so " PLUGINS "/summary.so", "r");
    char line[1024];
    int symbols = 0;

    assert_non_null(nm);
    while (fgets(line, sizeof line, nm) != NULL) {
        if (strchr(line, ':') != NULL || line[0] == '\n')
            continue;
        symbols++;
        assert_non_null(
            strstr(line, " R rasad_plugin\n") != NULL ? line : strstr(line, " D rasad_plugin\n"));
    }
    assert_int_equal(pclose(nm), 0);
    assert_int_equal(symbols, 2);
}
#endif

static void test_the_header_is_good_for_cpp(void **unused)
{
    assert_int_equal(system("printf '#include <rasad/plugin.h>\\n' | " CXX
                            " -x c++ -Wall -Wextra -Wpedantic -Werror -fsyntax-only -I " HEADERS
                            " -"),
                     0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_gauge_shows_the_latest_and_its_changes),
        cmocka_unit_test(test_gauge_merges_by_time),
        cmocka_unit_test(test_gauge_refuses_what_is_no_number),
        cmocka_unit_test(test_counter_adds_exactly),
        cmocka_unit_test(test_counter_does_not_drift),
        cmocka_unit_test(test_counter_refuses_to_go_down),
        cmocka_unit_test(test_counter_stays_at_its_end),
        cmocka_unit_test(test_letter_counter_counts_letters),
        cmocka_unit_test(test_letter_counter_adds_numbers),
        cmocka_unit_test(test_histogram_bounds_are_inclusive),
        cmocka_unit_test(test_histogram_finds_each_of_many_buckets),
        cmocka_unit_test(test_histogram_refuses),
        cmocka_unit_test(test_summary_quantiles_are_within_the_error),
        cmocka_unit_test(test_summary_small_sizes_become_zero),
        cmocka_unit_test(test_summary_takes_the_ends_of_double),
        cmocka_unit_test(test_summary_window_slides),
        cmocka_unit_test(test_summary_late_samples_count_in_the_totals),
        cmocka_unit_test(test_summary_times_before_1970_have_a_slice),
        cmocka_unit_test(test_summary_is_bounded),
        cmocka_unit_test(test_bad_options_are_refused),
        cmocka_unit_test(test_bytes_of_another_size_are_no_state),
        cmocka_unit_test(test_a_summary_of_rubbish_is_no_state),
#ifndef SANITIZED
        cmocka_unit_test(test_plugins_need_libc_and_libm_only),
        cmocka_unit_test(test_plugins_export_one_symbol),
#endif
        cmocka_unit_test(test_the_header_is_good_for_cpp),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
