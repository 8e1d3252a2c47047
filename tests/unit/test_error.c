/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include "base/error.h"
#include <cmocka.h>

static void test_whoever_knows_more_puts_it_in_front(void **unused)
{
    struct rasad_error error;

    assert_false(rasad_fail(&error, "wants a number, got \"%s\"", "fast"));
    assert_string_equal(error.text, "wants a number, got \"fast\"");
    assert_false(rasad_fail_at(&error, "\"%s\" refused", "RTT"));
    assert_false(rasad_fail_at(&error, "%s:%d", "rasad.conf", 14));
    assert_string_equal(error.text, "rasad.conf:14: \"RTT\" refused: wants a number, got \"fast\"");
}

static void test_nobody_need_ask_why(void **unused)
{
    assert_false(rasad_fail(NULL, "%d", 1));
    assert_false(rasad_fail_at(NULL, "%d", 1));
    assert_false(rasad_fail_memory(NULL));
}

static void test_a_long_text_is_cut(void **unused)
{
    struct rasad_error error;
    static char noise[2000];

    memset(noise, 'x', sizeof noise - 1);
    assert_false(rasad_fail(&error, "%s", noise));
    assert_int_equal(strlen(error.text), sizeof error.text - 1);
    assert_false(rasad_fail_at(&error, "here"));
    assert_int_equal(strlen(error.text), sizeof error.text - 1);
    assert_memory_equal(error.text, "here: xxx", 9);
    assert_false(rasad_fail_at(&error, "%s", noise));
    assert_int_equal(strlen(error.text), sizeof error.text - 1);
}

static void test_out_of_memory_is_an_error_like_others(void **unused)
{
    struct rasad_error error;

    assert_false(rasad_fail_memory(&error));
    assert_string_equal(error.text, "out of memory");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_whoever_knows_more_puts_it_in_front),
        cmocka_unit_test(test_nobody_need_ask_why),
        cmocka_unit_test(test_a_long_text_is_cut),
        cmocka_unit_test(test_out_of_memory_is_an_error_like_others),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
