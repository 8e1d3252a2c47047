/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/base64.h"

/* RFC 4648 section 10, and bytes that use the last digits. */
static const struct {
    const char *bytes, *base64;
} rows[] = {
    {"", ""},
    {"f", "Zg=="},
    {"fo", "Zm8="},
    {"foo", "Zm9v"},
    {"foob", "Zm9vYg=="},
    {"fooba", "Zm9vYmE="},
    {"foobar", "Zm9vYmFy"},
    {"\xfb\xef\xbe\xff\xff\xff", "++++////"},
};

static void test_bytes_go_there_and_back(void **context)
{
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct text there = {0}, back = {0};

        base64_add(&there, rows[i].bytes, strlen(rows[i].bytes));
        assert_string_equal(text_end(&there), rows[i].base64);
        assert_true(base64_read(&back, there.at, there.length));
        assert_string_equal(text_end(&back), rows[i].bytes);
        text_free(&there);
        text_free(&back);
    }
}

static void test_all_bytes_and_lengths(void **context)
{
    unsigned char bytes[256];

    for (size_t length = 0; length <= sizeof bytes; length++) {
        struct text there = {0}, back = {0};

        for (size_t i = 0; i < length; i++)
            bytes[i] = (unsigned char)(i * 167 + length);
        base64_add(&there, bytes, length);
        assert_true(base64_read(&back, text_end(&there), there.length));
        assert_int_equal(back.length, length);
        assert_memory_equal(text_end(&back), bytes, length);
        text_free(&there);
        text_free(&back);
    }
}

static void test_what_was_not_written_so_is_refused(void **context)
{
    static const char *const wrong[] = {
        "Z",        "Zg",   "Zg=",    "Zg===", "Zm9",
        "====", /* not in fours, or nothing in them */
        "Zh==",     "Zm9=", "Z===",   "Zg=A",  "Zg==Zg==",
        "Zg==Zm9v", /* bits or bytes behind the end */
        "Zm9 ",     "Zm-v", "Zm9v\n", "Zm_v",  "Zm\xc3\xa9",
    };

    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        struct text back = {0};

        if (base64_read(&back, wrong[i], strlen(wrong[i])))
            fail_msg("\"%s\" was read", wrong[i]);
        text_free(&back);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bytes_go_there_and_back),
        cmocka_unit_test(test_all_bytes_and_lengths),
        cmocka_unit_test(test_what_was_not_written_so_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
