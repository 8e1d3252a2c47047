/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "base/utf8.h"

static void test_characters_by_rfc_3629(void **unused)
{
    static const struct {
        const char *bytes;
        size_t length, taken;
        uint32_t point;
    } cases[] = {
        {"a", 1, 1, 'a'},
        {"\0", 1, 1, 0},
        {"\x7f", 1, 1, 0x7f},
        {"\xc2\x80", 2, 2, 0x80}, /* the least of two bytes */
        {"\xdf\xbf", 2, 2, 0x7ff},
        {"\xe0\xa0\x80", 3, 3, 0x800},  /* of three */
        {"\xed\x9f\xbf", 3, 3, 0xd7ff}, /* the last before the surrogates */
        {"\xee\x80\x80", 3, 3, 0xe000}, /* the first after them */
        {"\xef\xbf\xbf", 3, 3, 0xffff},
        {"\xf0\x90\x80\x80", 4, 4, 0x10000},  /* of four */
        {"\xf4\x8f\xbf\xbf", 4, 4, 0x10ffff}, /* the greatest of all */
        {"\xc3\xa9tude", 6, 2, 0xe9},         /* only the first counts */
        {"\x80", 1, 0, 0},                    /* a continuation byte begins nothing */
        {"\xbf", 1, 0, 0},
        {"\xc0\x80", 2, 0, 0}, /* overlong */
        {"\xc1\xbf", 2, 0, 0},
        {"\xe0\x9f\xbf", 3, 0, 0},
        {"\xf0\x8f\xbf\xbf", 4, 0, 0},
        {"\xed\xa0\x80", 3, 0, 0}, /* surrogates */
        {"\xed\xbf\xbf", 3, 0, 0},
        {"\xf4\x90\x80\x80", 4, 0, 0}, /* above U+10FFFF */
        {"\xf5\x80\x80\x80", 4, 0, 0},
        {"\xff", 1, 0, 0},
        {"\xc3", 1, 0, 0}, /* cut */
        {"\xe2\x82", 2, 0, 0},
        {"\xf0\x9f\x98", 3, 0, 0},
        {"\xc3(", 2, 0, 0}, /* no continuation */
        {"\xe2\x82(", 3, 0, 0},
        {"\xf0\x9f\x98(", 4, 0, 0},
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        uint32_t point = 0;
        size_t taken = utf8_decode(cases[i].bytes, cases[i].length, &point);

        if (taken != cases[i].taken || (taken > 0 && point != cases[i].point))
            fail_msg("row %zu: %zu bytes, U+%04x", i, taken, (unsigned)point);
    }
}

static void test_every_code_point_is_read_back(void **unused)
{
    for (uint32_t p = 0; p <= 0x10ffff; p++) {
        char bytes[4];
        uint32_t point = 0;
        size_t length = p < 0x80 ? 1 : p < 0x800 ? 2 : p < 0x10000 ? 3 : 4;
        bool surrogate = p >= 0xd800 && p < 0xe000;

        for (size_t i = 0; i < length; i++)
            bytes[i] = (char)(0x80 | (p >> 6 * (length - 1 - i) & 0x3f));
        if (length > 1)
            bytes[0] = (char)((0xf00U >> length & 0xff) | p >> 6 * (length - 1));
        else
            bytes[0] = (char)p;
        if (utf8_decode(bytes, length, &point) != (surrogate ? 0 : length) ||
            (!surrogate && point != p))
            fail_msg("U+%04x", (unsigned)p);
    }
}

static void test_one_bad_byte_spoils_all(void **unused)
{
    assert_true(utf8_valid("", 0));
    assert_true(utf8_valid("a\xc3\xa9\0z", 5));
    assert_false(utf8_valid("a\xc3\xa9\xff", 4));
    assert_false(utf8_valid("a\xc3", 2));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_characters_by_rfc_3629),
        cmocka_unit_test(test_every_code_point_is_read_back),
        cmocka_unit_test(test_one_bad_byte_spoils_all),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
