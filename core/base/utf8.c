/* SPDX-License-Identifier: Apache-2.0 */
#include "base/utf8.h"

size_t utf8_decode(const char *bytes, size_t length, uint32_t *point)
{
    const unsigned char *at = (const unsigned char *)bytes;
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    size_t taken = at[0] < 0x80   ? 1
                   : at[0] < 0xc2 ? 0
                   : at[0] < 0xe0 ? 2
                   : at[0] < 0xf0 ? 3
                   : at[0] < 0xf5 ? 4
                                  : 0;

    if (taken == 0 || taken > length)
        return 0;
    *point = taken == 1 ? at[0] : at[0] & (0x7fU >> taken);
    for (size_t i = 1; i < taken; i++) {
        if ((at[i] & 0xc0) != 0x80)
            return 0;
        *point = *point << 6 | (at[i] & 0x3fU);
    }
    if (*point < least[taken] || *point > 0x10ffff || (*point >= 0xd800 && *point < 0xe000))
        return 0;
    return taken;
}

bool utf8_valid(const char *bytes, size_t length)
{
    for (size_t i = 0; i < length;) {
        uint32_t point;
        size_t taken = utf8_decode(bytes + i, length - i, &point);

        if (taken == 0)
            return false;
        i += taken;
    }
    return true;
}
