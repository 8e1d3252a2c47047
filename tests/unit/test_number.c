/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <errno.h>
#include <float.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/number.h"

static void test_json_numbers_and_nothing_else(void **unused)
{
    static const struct {
        const char *text;
        bool fine;
        double number;
    } cases[] = {
        {"0", true, 0},      {"-0", true, 0},      {"1", true, 1},           {"-12.5", true, -12.5},
        {"1e3", true, 1000}, {"1E+3", true, 1000}, {"1.5e-3", true, 0.0015}, {"1e308", true, 1e308},
        {"1e-400", true, 0}, /* underflow is the nearest number */
        {"1e309", false, 0}, /* overflow is no number */
        {"", false, 0},      {"-", false, 0},      {"+1", false, 0}, /* RFC 8259 section 6 has no
                                                                        plus sign */
        {"01", false, 0},                                            /* no leading zeros */
        {"-01", false, 0},   {".5", false, 0},     {"5.", false, 0},         {"1e", false, 0},
        {"1e+", false, 0},   {" 1", false, 0},   /* no blanks */
        {"1 ", false, 0},    {"0x10", false, 0}, /* what strtod() would take */
        {"inf", false, 0},   {"nan", false, 0},    {"1,5", false, 0},        {"1e5x", false, 0},
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        double number = 7;
        bool fine = number_parse(cases[i].text, strlen(cases[i].text), &number);

        if (fine != cases[i].fine || (fine && number != cases[i].number) || (!fine && number != 7))
            fail_msg("row %zu, \"%s\": %d, %g", i, cases[i].text, fine, number);
    }
}

static void test_only_the_given_length_is_read(void **unused)
{
    double number;

    assert_true(number_parse("123", 2, &number));
    assert_true(number == 12);
    assert_false(number_parse("1\0002", 3, &number));
}

static void test_numbers_of_any_length_are_read(void **unused)
{
    static char digits[5000] = "0.";
    double number;

    memset(digits + 2, '3', sizeof digits - 2);
    assert_true(number_parse(digits, sizeof digits, &number));
    assert_true(number == 1.0 / 3);
}

static void test_formats_as_the_expositions_want_it(void **unused)
{
    static const struct {
        double number;
        const char *text;
    } cases[] = {
        {0, "0"},
        {1, "1"},
        {-10, "-10"},
        {0.1, "0.1"},
        {0.30000000000000004, "0.30000000000000004"},
        {1e-7, "1e-07"}, /* an exponent has two digits, as in Go */
        {1e15, "1000000000000000"},
        {9007199254740991.0, "9007199254740991"}, /* whole below 2^53: no exponent */
        {1e16, "1e+16"},
        {1e300, "1e+300"},
        {5e-324, "4.94065645841247e-324"}, /* 15 digits at least, and read back the same */
        {DBL_MAX, "1.7976931348623157e+308"},
        {NAN, "NaN"},
        {INFINITY, "+Inf"},
        {-INFINITY, "-Inf"},
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[NUMBER_LENGTH];
        size_t length = number_format(cases[i].number, text);

        assert_string_equal(text, cases[i].text);
        assert_int_equal(length, strlen(text));
    }
}

static void test_what_is_written_reads_back_the_same(void **unused)
{
    uint64_t bits = 1;

    for (int i = 0; i < 100000; i++) {
        char text[NUMBER_LENGTH];
        double number, back;

        bits = bits * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        memcpy(&number, &bits, sizeof number);
        if (!isfinite(number))
            continue;
        assert_true(number_format(number, text) < NUMBER_LENGTH);
        assert_true(number_parse(text, strlen(text), &back));
        if (back != number)
            fail_msg("%a was written as %s", number, text);
    }
}

static void test_durations(void **unused)
{
    static const struct {
        const char *text;
        bool fine;
        int64_t ns;
    } cases[] = {
        {"0s", true, 0},
        {"500ms", true, 500000000},
        {"10s", true, INT64_C(10000000000)},
        {"1.5m", true, INT64_C(90000000000)},
        {"2h", true, INT64_C(7200000000000)},
        {"30d", true, INT64_C(2592000000000000)},
        {"106000d", true, INT64_C(9158400000000000000)}, /* just below 292 years */
        {"110000d", false, 0},
        {"99999999999999999999999d", false, 0},
        {"5", false, 0}, /* of what? */
        {"", false, 0},
        {"s", false, 0},
        {"-5s", false, 0},
        {"5 s", false, 0},
        {"5S", false, 0},
        {"5sec", false, 0},
        {".5s", false, 0},
        {"1h30m", false, 0},
        {"1e3s", false, 0},
        {"1.2.3s", false, 0},
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int64_t ns = 7;
        bool fine = duration_parse(cases[i].text, &ns);

        if (fine != cases[i].fine || ns != (fine ? cases[i].ns : 7))
            fail_msg("row %zu, \"%s\": %d, %lld", i, cases[i].text, fine, (long long)ns);
    }
}

static void sizes_are_bytes_or_have_a_unit(void **state)
{
    static const struct {
        const char *text;
        bool fine;
        uint64_t bytes;
    } rows[] = {
        {"0", true, 0},
        {"65536", true, 65536},
        {"64KiB", true, 65536},
        {"3MiB", true, 3 << 20},
        {"16GiB", true, UINT64_C(16) << 30},
        {"999999999999999999", true, 999999999999999999},
        {"9999999999999999999", false, 0}, /* more digits than are needed */
        {"8589934592GiB", false, 0},       /* 2^63 */
        {"", false, 0},
        {"MiB", false, 0},
        {"1.5MiB", false, 0},
        {"1MB", false, 0}, /* which could mean either */
        {"-1", false, 0},
        {" 1", false, 0},
        {"1 ", false, 0},
    };

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        uint64_t bytes = 0;
        bool fine = size_parse(rows[i].text, &bytes);

        if (fine != rows[i].fine || (fine && bytes != rows[i].bytes))
            fail_msg("\"%s\": %d, %llu", rows[i].text, fine, (unsigned long long)bytes);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_json_numbers_and_nothing_else),
        cmocka_unit_test(test_only_the_given_length_is_read),
        cmocka_unit_test(test_numbers_of_any_length_are_read),
        cmocka_unit_test(test_formats_as_the_expositions_want_it),
        cmocka_unit_test(test_what_is_written_reads_back_the_same),
        cmocka_unit_test(test_durations),
        cmocka_unit_test(sizes_are_bytes_or_have_a_unit),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
