/* SPDX-License-Identifier: Apache-2.0 */
/* Takes in the source itself, so that the way without the instruction is tested on every machine.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <stdlib.h>

#include "base/crc32c.c"

static const struct {
    const char *bytes; /* NULL: 32 bytes from `first`, each `step` more than the last */
    size_t length;
    uint8_t first;
    int step;
    uint32_t crc;
} vectors[] = {
    {"", 0, 0, 0, 0},
    {"123456789", 9, 0, 0, 0xe3069283}, /* the catalogue's check value */
    {NULL, 32, 0, 0, 0x8a9136aa},       /* RFC 3720 B.4: zeros, ones, rising, falling */
    {NULL, 32, 0xff, 0, 0x62a8ab43},
    {NULL, 32, 0, 1, 0x46dd794e},
    {NULL, 32, 31, -1, 0x113fdb5c},
};

static void test_the_vectors_of_rfc_3720(void **unused)
{
    for (size_t i = 0; i < sizeof vectors / sizeof *vectors; i++) {
        char bytes[32];
        const char *at = vectors[i].bytes;

        for (int k = 0; at == NULL && k < 32; k++)
            bytes[k] = (char)(vectors[i].first + k * vectors[i].step);
        at = at == NULL ? bytes : at;
        assert_int_equal(crc32c(0, at, vectors[i].length), vectors[i].crc);
        assert_int_equal(~crc32c_slow(~UINT32_C(0), at, vectors[i].length), vectors[i].crc);
    }
}

static void test_pieces_chain(void **unused)
{
    static const char digits[] = "123456789";

    for (size_t cut = 0; cut <= 9; cut++)
        assert_int_equal(crc32c(crc32c(0, digits, cut), digits + cut, 9 - cut), 0xe3069283);
}

static void test_both_ways_agree(void **unused)
{
    char bytes[200];

    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (char)(i * 131 + 7);
    for (size_t start = 0; start < 9; start++) {
        for (size_t length = 0; start + length <= sizeof bytes; length++)
            assert_int_equal(crc32c(1, bytes + start, length),
                             ~crc32c_slow(~UINT32_C(1), bytes + start, length));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_vectors_of_rfc_3720),
        cmocka_unit_test(test_pieces_chain),
        cmocka_unit_test(test_both_ways_agree),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
