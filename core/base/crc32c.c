/* SPDX-License-Identifier: Apache-2.0 */
#include "base/crc32c.h"

#include <string.h>

#if defined(__x86_64__)
#include <nmmintrin.h>

/* With the instruction that every x86-64 machine since 2008 has. */
__attribute__((target("sse4.2"))) static uint32_t crc32c_fast(uint32_t crc, const char *at,
                                                              size_t length)
{
    uint64_t word, state = crc;

    for (; length >= sizeof word; at += sizeof word, length -= sizeof word) {
        memcpy(&word, at, sizeof word);
        state = _mm_crc32_u64(state, word);
    }
    crc = (uint32_t)state;
    for (; length > 0; at++, length--)
        crc = _mm_crc32_u8(crc, (unsigned char)*at);
    return crc;
}
#endif

/* By nibbles: the table of the polynomial 0x1EDC6F41, reflected, for four bits. */
static uint32_t crc32c_slow(uint32_t crc, const char *at, size_t length)
{
    static const uint32_t table[16] = {
        0x00000000, 0x105ec76f, 0x20bd8ede, 0x30e349b1, 0x417b1dbc, 0x5125dad3,
        0x61c69362, 0x7198540d, 0x82f63b78, 0x92a8fc17, 0xa24bb5a6, 0xb21572c9,
        0xc38d26c4, 0xd3d3e1ab, 0xe330a81a, 0xf36e6f75,
    };

    for (; length > 0; at++, length--) {
        crc ^= (unsigned char)*at;
        crc = crc >> 4 ^ table[crc & 15];
        crc = crc >> 4 ^ table[crc & 15];
    }
    return crc;
}

uint32_t crc32c(uint32_t crc, const void *bytes, size_t length)
{
#if defined(__x86_64__)
    if (__builtin_cpu_supports("sse4.2"))
        return ~crc32c_fast(~crc, bytes, length);
#endif
    return ~crc32c_slow(~crc, bytes, length);
}
