/* SPDX-License-Identifier: Apache-2.0 */
/* What plugins may render, and how it looks in text 0.0.4. */
#include "exporter/exposition.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "exporter/filter.h"
#include "exporter/points.h"

static void nothing(struct rasad_writer *w)
{
}

static void one_gauge(struct rasad_writer *w)
{
    rasad_write_gauge(w, 0.1);
}

static void two_gauges(struct rasad_writer *w)
{
    rasad_write_gauge(w, 1);
    rasad_write_gauge(w, 2);
}

static void labelled_gauges(struct rasad_writer *w)
{
    rasad_write_label(w, "window", "1m");
    rasad_write_gauge(w, -INFINITY);
    rasad_write_label(w, "window", "5\"m\\\n");
    rasad_write_gauge(w, NAN);
}

static void reserved_label(struct rasad_writer *w)
{
    rasad_write_label(w, "le", "1");
    rasad_write_gauge(w, 1);
}

static void illegal_label(struct rasad_writer *w)
{
    rasad_write_label(w, "a b", "1");
    rasad_write_gauge(w, 1);
}

static void taken_label(struct rasad_writer *w)
{
    rasad_write_label(w, "agent", "1");
    rasad_write_gauge(w, 1);
}

static void label_twice(struct rasad_writer *w)
{
    rasad_write_label(w, "l", "1");
    rasad_write_gauge(w, 1);
    rasad_write_label(w, "l", "1");
    rasad_write_gauge(w, 2);
}

static void no_label(struct rasad_writer *w)
{
    rasad_write_label(w, NULL, "1");
    rasad_write_gauge(w, 1);
}

static void empty_label(struct rasad_writer *w)
{
    rasad_write_label(w, "l", "");
    rasad_write_gauge(w, 1);
}

static void bad_utf8(struct rasad_writer *w)
{
    rasad_write_label(w, "l", "\xff");
    rasad_write_gauge(w, 1);
}

static void endless(struct rasad_writer *w)
{
    for (int i = 0; i <= POINTS_MAX; i++)
        rasad_write_gauge(w, 1);
}

static void one_counter(struct rasad_writer *w)
{
    rasad_write_count(w, UINT64_MAX);
}

static void fraction_counter(struct rasad_writer *w)
{
    rasad_write_counter(w, 1e15 + 0.5);
}

static void labelled_counters(struct rasad_writer *w)
{
    rasad_write_label(w, "value", "a");
    rasad_write_count(w, 2);
    rasad_write_label(w, "value", "none");
    rasad_write_label(w, "value", "\"\\\n");
    rasad_write_count(w, 1);
}

static void negative_counter(struct rasad_writer *w)
{
    rasad_write_counter(w, -1);
}

static void nan_counter(struct rasad_writer *w)
{
    rasad_write_counter(w, NAN);
}

static void histogram(struct rasad_writer *w)
{
    rasad_write_bucket(w, 0.1, 1);
    rasad_write_bucket(w, 1, 3);
    rasad_write_totals(w, 4, 12.5);
}

static void histogram_with_infinity(struct rasad_writer *w)
{
    rasad_write_bucket(w, 1, 3);
    rasad_write_bucket(w, INFINITY, 4);
    rasad_write_totals(w, 4, 12.5);
}

static void histogram_with_native(struct rasad_writer *w)
{
    const struct rasad_native native = {.zero_count = 4};

    rasad_write_bucket(w, 1, 3);
    rasad_write_native(w, &native);
    rasad_write_totals(w, 4, 12.5);
}

static void infinity_below_totals(struct rasad_writer *w)
{
    rasad_write_bucket(w, INFINITY, 2);
    rasad_write_totals(w, 5, 1);
}

static void bucket_at_minus_infinity(struct rasad_writer *w)
{
    rasad_write_bucket(w, -INFINITY, 0);
    rasad_write_totals(w, 1, 1);
}

static void bare_histogram(struct rasad_writer *w)
{
    rasad_write_totals(w, 0, 0);
}

static void histogram_without_totals(struct rasad_writer *w)
{
    rasad_write_bucket(w, 1, 3);
}

static void falling_bounds(struct rasad_writer *w)
{
    rasad_write_bucket(w, 1, 1);
    rasad_write_bucket(w, 0.5, 2);
    rasad_write_totals(w, 2, 1);
}

static void falling_counts(struct rasad_writer *w)
{
    rasad_write_bucket(w, 1, 2);
    rasad_write_bucket(w, 2, 1);
    rasad_write_totals(w, 2, 1);
}

static void more_than_all(struct rasad_writer *w)
{
    rasad_write_bucket(w, 1, 3);
    rasad_write_totals(w, 2, 1);
}

static void summary(struct rasad_writer *w)
{
    rasad_write_quantile(w, 0.5, NAN);
    rasad_write_quantile(w, 0.99, 7);
    rasad_write_totals(w, 2, 9);
}

static void quantile_beyond_one(struct rasad_writer *w)
{
    rasad_write_quantile(w, 1.5, 7);
    rasad_write_totals(w, 2, 9);
}

static const struct {
    uint32_t kind;
    void (*render)(struct rasad_writer *w);
    const char *page; /* NULL: it does not fit the kind */
} cases[] = {
    {RASAD_GAUGE, nothing, ""},
    {RASAD_GAUGE, one_gauge, "x{a=\"b\"} 0.1\n"},
    {RASAD_GAUGE, two_gauges, NULL},
    {RASAD_GAUGE, one_counter, NULL},
    {RASAD_GAUGE, labelled_gauges,
     "x{a=\"b\",window=\"1m\"} -Inf\nx{a=\"b\",window=\"5\\\"m\\\\\\n\"} NaN\n"},
    {RASAD_GAUGE, reserved_label, NULL},
    {RASAD_GAUGE, illegal_label, NULL},
    {RASAD_GAUGE, taken_label, NULL},
    {RASAD_GAUGE, label_twice, NULL},
    {RASAD_GAUGE, no_label, NULL},
    {RASAD_GAUGE, empty_label, NULL},
    {RASAD_GAUGE, bad_utf8, NULL},
    {RASAD_GAUGE, endless, NULL},
    {RASAD_COUNTER, one_counter, "x_total{a=\"b\"} 18446744073709551615\n"},
    {RASAD_COUNTER, fraction_counter, "x_total{a=\"b\"} 1000000000000000.5\n"},
    {RASAD_COUNTER, labelled_counters,
     "x_total{a=\"b\",value=\"a\"} 2\nx_total{a=\"b\",value=\"\\\"\\\\\\n\"} 1\n"},
    {RASAD_COUNTER, negative_counter, NULL},
    {RASAD_COUNTER, nan_counter, NULL},
    {RASAD_COUNTER, one_gauge, NULL},
    {RASAD_HISTOGRAM, histogram,
     "x_bucket{a=\"b\",le=\"0.1\"} 1\nx_bucket{a=\"b\",le=\"1\"} 3\n"
     "x_bucket{a=\"b\",le=\"+Inf\"} 4\nx_sum{a=\"b\"} 12.5\nx_count{a=\"b\"} 4\n"},
    {RASAD_HISTOGRAM, histogram_with_infinity,
     "x_bucket{a=\"b\",le=\"1\"} 3\nx_bucket{a=\"b\",le=\"+Inf\"} 4\n"
     "x_sum{a=\"b\"} 12.5\nx_count{a=\"b\"} 4\n"},
    {RASAD_HISTOGRAM, histogram_with_native,
     "x_bucket{a=\"b\",le=\"1\"} 3\nx_bucket{a=\"b\",le=\"+Inf\"} 4\n"
     "x_sum{a=\"b\"} 12.5\nx_count{a=\"b\"} 4\n"},
    {RASAD_HISTOGRAM, infinity_below_totals, NULL},
    {RASAD_HISTOGRAM, bucket_at_minus_infinity,
     "x_bucket{a=\"b\",le=\"-Inf\"} 0\nx_bucket{a=\"b\",le=\"+Inf\"} 1\n"
     "x_sum{a=\"b\"} 1\nx_count{a=\"b\"} 1\n"},
    {RASAD_HISTOGRAM, bare_histogram,
     "x_bucket{a=\"b\",le=\"+Inf\"} 0\nx_sum{a=\"b\"} 0\nx_count{a=\"b\"} 0\n"},
    {RASAD_HISTOGRAM, histogram_without_totals, NULL},
    {RASAD_HISTOGRAM, falling_bounds, NULL},
    {RASAD_HISTOGRAM, falling_counts, NULL},
    {RASAD_HISTOGRAM, more_than_all, NULL},
    {RASAD_HISTOGRAM, summary, NULL},
    {RASAD_SUMMARY, summary,
     "x{a=\"b\",quantile=\"0.5\"} NaN\nx{a=\"b\",quantile=\"0.99\"} 7\n"
     "x_sum{a=\"b\"} 9\nx_count{a=\"b\"} 2\n"},
    {RASAD_SUMMARY, quantile_beyond_one, NULL},
};

static void test_points_that_fit_are_written_and_others_are_not(void **state)
{
    struct point_set points = point_set_make();
    struct text taken = {0};

    text_add(&taken, "agent", sizeof "agent");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct text out = {0}, labels = {0};

        exposition_label(&labels, "a", "b", 1);
        point_set_clear(&points, 0);
        cases[i].render(&points.writer);
        if (point_set_fits(&points, cases[i].kind, &taken) != (cases[i].page != NULL))
            fail_msg("case %zu: %s", i, cases[i].page != NULL ? "does not fit" : "fits");
        if (cases[i].page != NULL) {
            exposition_series(&out, "x", cases[i].kind, &labels, &points);
            assert_string_equal(text_end(&out), cases[i].page);
            assert_string_equal(text_end(&labels), "a=\"b\"");
        }
        text_free(&out);
        text_free(&labels);
    }
    point_set_free(&points);
    text_free(&taken);
}

static void test_each_sub_series_says_when_it_was_created(void **state)
{
    static const struct {
        void (*render)(struct rasad_writer *w);
        const char *lines;
    } rows[] = {
        {nothing, ""},
        {one_counter, "x_created{a=\"b\"} 1.5\n"},
        {histogram, "x_created{a=\"b\"} 1.5\n"}, /* once, for all of its points */
        {labelled_counters, "x_created{a=\"b\",value=\"a\"} 1.5\n"
                            "x_created{a=\"b\",value=\"\\\"\\\\\\n\"} 1.5\n"},
    };
    struct point_set points = point_set_make();
    struct text out = {0}, labels = {0};

    exposition_label(&labels, "a", "b", 1);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        text_clear(&out);
        point_set_clear(&points, 0);
        rows[i].render(&points.writer);
        exposition_created(&out, "x", &labels, &points, 1.5);
        assert_string_equal(text_end(&out), rows[i].lines);
        assert_string_equal(text_end(&labels), "a=\"b\"");
    }
    text_free(&out);
    text_free(&labels);
    point_set_free(&points);
}

static void test_help_and_labels_are_escaped_each_in_its_way(void **state)
{
    static const char value[] = "a \"quote\", a \\ and a\nline";
    struct text out = {0}, labels = {0};

    exposition_head(&out, "x", "_total", "counter", value);
    exposition_label(&labels, "l", value, strlen(value));
    exposition_number(&out, "x", "_total", &labels, 1e300);
    exposition_number(&out, "x", "_total", NULL, 3);
    assert_string_equal(text_end(&out),
                        "# HELP x_total a \"quote\", a \\\\ and a\\nline\n"
                        "# TYPE x_total counter\n"
                        "x_total{l=\"a \\\"quote\\\", a \\\\ and a\\nline\"} 1e+300\n"
                        "x_total 3\n");
    text_free(&out);
    text_free(&labels);
}

static void test_a_filter_knows_a_family_by_the_names_of_its_samples(void **state)
{
    static const char *const names[] = {"x_bucket", "y"};
    static const char *const created_names[] = {"y_created"};
    const struct filter some = {names, 2}, all = {NULL, 0}, created = {created_names, 1};

    assert_true(filter_wants(&all, "anything"));
    assert_true(filter_wants(&some, "x"));
    assert_true(filter_wants(&some, "y"));
    assert_true(filter_wants(&some, "x_bucket"));
    assert_false(filter_wants(&some, "x_buck"));
    assert_false(filter_wants(&some, "z"));
    assert_true(filter_wants_created(&all, "anything"));
    assert_false(filter_wants_created(&some, "y"));
    assert_true(filter_wants_created(&created, "y"));
    assert_false(filter_wants(&created, "y"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_points_that_fit_are_written_and_others_are_not),
        cmocka_unit_test(test_each_sub_series_says_when_it_was_created),
        cmocka_unit_test(test_help_and_labels_are_escaped_each_in_its_way),
        cmocka_unit_test(test_a_filter_knows_a_family_by_the_names_of_its_samples),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
