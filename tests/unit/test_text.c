/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"

static void test_pieces_add_up(void **unused)
{
    struct text text = {0};

    assert_string_equal(text_end(&text), "");
    text_add_string(&text, "a");
    text_add_char(&text, 'b');
    text_add(&text, "cd", 2);
    text_add(&text, NULL, 0); /* nothing, from nowhere */
    text_add_u64(&text, 0);
    text_add_u64(&text, UINT64_MAX);
    text_printf(&text, "[%s]", "");
    assert_string_equal(text_end(&text), "abcd018446744073709551615[]");
    assert_int_equal(text.length, strlen(text.at));
    text_clear(&text);
    assert_string_equal(text_end(&text), "");
    text_free(&text);
    assert_null(text.at);
}

static void test_it_grows(void **unused)
{
    struct text text = {0};

    for (int i = 0; i < 100000; i++)
        text_printf(&text, "%d", i % 10);
    assert_int_equal(text.length, 100000);
    for (size_t i = 0; i < text.length; i++)
        assert_int_equal(text.at[i], '0' + (int)(i % 10));
    text_free(&text);
}

static void test_a_failed_allocation_is_remembered(void **unused)
{
    struct text text = {0};

    text_add_string(&text, "kept");
    assert_false(text_reserve(&text, SIZE_MAX)); /* the sum overflows */
    assert_true(text.failed);
    text_add_string(&text, "lost");
    assert_int_equal(text.length, 4);
    assert_false(text_reserve(&text, 1));
    assert_string_equal(text_end(&text), "");
    text_clear(&text);
    text_add_string(&text, "anew");
    assert_string_equal(text_end(&text), "anew");
    text_free(&text);
}

static void test_escaped_text_forges_nothing(void **unused)
{
    static const struct {
        const char *bytes;
        size_t length;
        const char *escaped;
    } cases[] = {
        {"plain text", 10, "plain text"},
        {"a\nerror forged", 14, "a\\nerror forged"},
        {"\r\t", 2, "\\r\\t"},
        {"\033[31m", 5, "\\x1b[31m"}, /* a terminal's colours */
        {"\0", 1, "\\x00"},
        {"\x7f", 1, "\\x7f"},
        {"\"\\", 2, "\\\"\\\\"},          /* so that escapes are unambiguous */
        {"\xc2\x9b", 2, "\\u{9b}"},       /* C1's CSI */
        {"\xc2\xa0", 2, "\xc2\xa0"},      /* the first after C1 */
        {"\xe2\x80\xae", 3, "\\u{202e}"}, /* right-to-left override */
        {"\xe2\x81\xa6", 3, "\\u{2066}"}, /* isolate */
        {"\xd8\x9c", 2, "\\u{61c}"},      /* Arabic letter mark */
        {"\xe2\x80\xa8", 3, "\\u{2028}"}, /* line separator */
        {"\xef\xbb\xbf", 3, "\\u{feff}"}, /* BOM */
        {"\xd8\xb1\xd8\xb5\xd8\xaf", 6, "\xd8\xb1\xd8\xb5\xd8\xaf"}, /* letters stay */
        {"\xff\x80z", 3, "\\xff\\x80z"},                             /* no UTF-8 */
        {"\xe2\x82", 2, "\\xe2\\x82"},                               /* cut */
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct text text = {0};

        text_add_escaped(&text, cases[i].bytes, cases[i].length);
        assert_string_equal(text_end(&text), cases[i].escaped);
        text_free(&text);
    }
}

static void test_json_strings(void **unused)
{
    struct text text = {0};

    text_add_json(&text, "a\"b\\c\n\0\x1f/\xc3\xa9", 11);
    assert_string_equal(text_end(&text), "\"a\\\"b\\\\c\\u000a\\u0000\\u001f/\xc3\xa9\"");
    text_free(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pieces_add_up),
        cmocka_unit_test(test_it_grows),
        cmocka_unit_test(test_a_failed_allocation_is_remembered),
        cmocka_unit_test(test_escaped_text_forges_nothing),
        cmocka_unit_test(test_json_strings),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
