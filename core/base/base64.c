/* SPDX-License-Identifier: Apache-2.0 */
#include "base/base64.h"

#include <stdint.h>

static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

void base64_add(struct text *out, const void *bytes, size_t length)
{
    const unsigned char *from = bytes, *end = from + length;
    char *to;

    if (length / 3 >= SIZE_MAX / 8) /* then there is no such text either */
        out->failed = true;
    if (!text_reserve(out, (length + 2) / 3 * 4))
        return;
    to = out->at + out->length;
    for (; end - from >= 3; from += 3) {
        uint32_t bits = (uint32_t)from[0] << 16 | (uint32_t)from[1] << 8 | from[2];

        *to++ = digits[bits >> 18];
        *to++ = digits[bits >> 12 & 63];
        *to++ = digits[bits >> 6 & 63];
        *to++ = digits[bits & 63];
    }
    if (from < end) {
        uint32_t bits = (uint32_t)from[0] << 16 | (end - from == 2 ? (uint32_t)from[1] << 8 : 0);

        *to++ = digits[bits >> 18];
        *to++ = digits[bits >> 12 & 63];
        *to++ = end - from == 2 ? digits[bits >> 6 & 63] : '=';
        *to++ = '=';
    }
    out->length += (length + 2) / 3 * 4;
}

/* What the digit stands for; 64 or more if it is none. */
static uint32_t value_of(char digit)
{
    if (digit >= 'A' && digit <= 'Z')
        return (uint32_t)(digit - 'A');
    if (digit >= 'a' && digit <= 'z')
        return (uint32_t)(digit - 'a') + 26;
    if (digit >= '0' && digit <= '9')
        return (uint32_t)(digit - '0') + 52;
    return digit == '+' ? 62 : digit == '/' ? 63 : 64;
}

/* Four digits, the last `padding` of them '=', as bytes; false if they are none. */
static bool read_four(const char *from, size_t padding, unsigned char *to)
{
    uint32_t bits = 0;

    for (size_t i = 0; i < 4; i++) {
        uint32_t value = i < 4 - padding ? value_of(from[i]) : 0;

        if (value > 63)
            return false;
        bits = bits << 6 | value;
    }
    if ((bits & ((UINT32_C(1) << 8 * padding) - 1)) != 0)
        return false; /* bits of bytes that aren't there */
    for (size_t i = 0; i < 3 - padding; i++)
        to[i] = (unsigned char)(bits >> (16 - 8 * i));
    return true;
}

bool base64_read(struct text *out, const char *base64, size_t length)
{
    size_t padding = 0;
    unsigned char *to;

    if (length % 4 != 0 || !text_reserve(out, length / 4 * 3 + 1))
        return false;
    if (length > 0)
        padding = base64[length - 1] != '=' ? 0 : base64[length - 2] != '=' ? 1 : 2;
    to = (unsigned char *)out->at + out->length;
    for (size_t i = 0; i < length; i += 4) {
        if (!read_four(base64 + i, i + 4 == length ? padding : 0, to + i / 4 * 3))
            return false;
    }
    out->length += length / 4 * 3 - padding;
    return true;
}
