/* SPDX-License-Identifier: Apache-2.0 */
#include "base/text.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"

void text_free(struct text *text)
{
    free(text->at);
    *text = (struct text){0};
}

void text_clear(struct text *text)
{
    text->length = 0;
    text->failed = false;
}

bool text_reserve(struct text *text, size_t extra)
{
    size_t wanted, capacity;
    char *grown;

    if (text->failed)
        return false;
    if (extra <= text->capacity - text->length)
        return true;
    if (__builtin_add_overflow(text->length, extra, &wanted) || wanted > SIZE_MAX / 2) {
        text->failed = true;
        return false;
    }
    for (capacity = text->capacity > 64 ? text->capacity : 64; capacity < wanted;)
        capacity *= 2;
    grown = realloc(text->at, capacity);
    if (grown == NULL) {
        text->failed = true;
        return false;
    }
    text->at = grown;
    text->capacity = capacity;
    return true;
}

void text_add(struct text *text, const void *bytes, size_t length)
{
    if (length == 0 || !text_reserve(text, length))
        return;
    memcpy(text->at + text->length, bytes, length);
    text->length += length;
}

void text_add_string(struct text *text, const char *string)
{
    text_add(text, string, strlen(string));
}

void text_add_char(struct text *text, char c)
{
    text_add(text, &c, 1);
}

void text_add_u64(struct text *text, uint64_t number)
{
    char digits[20];
    size_t i = sizeof digits;

    do {
        digits[--i] = (char)('0' + number % 10);
        number /= 10;
    } while (number > 0);
    text_add(text, digits + i, sizeof digits - i);
}

void text_printf(struct text *text, const char *format, ...)
{
    va_list arguments, again;
    int length;

    va_start(arguments, format);
    va_copy(again, arguments);
    length = vsnprintf(NULL, 0, format, arguments);
    if (length > 0 && text_reserve(text, (size_t)length + 1)) {
        (void)vsnprintf(text->at + text->length, (size_t)length + 1, format, again);
        text->length += (size_t)length;
    }
    va_end(again);
    va_end(arguments);
}

const char *text_end(struct text *text)
{
    if (!text_reserve(text, 1))
        return "";
    text->at[text->length] = '\0';
    return text->at;
}

/* Whether a code point would act on a terminal, or hide or reorder what stands beside it. */
static bool acts_on_terminal(uint32_t point)
{
    return point < 0x20 || (point >= 0x7f && point < 0xa0) ||        /* C0, DEL, C1 */
           point == 0x61c || (point >= 0x200b && point <= 0x200f) || /* zero width, direction */
           (point >= 0x2028 && point <= 0x202e) ||                   /* separators, embedding */
           (point >= 0x2060 && point <= 0x206f) || point == 0xfeff;  /* invisible, isolates, BOM */
}

static void add_escaped_point(struct text *text, uint32_t point)
{
    if (point == '\n')
        text_add_string(text, "\\n");
    else if (point == '\r')
        text_add_string(text, "\\r");
    else if (point == '\t')
        text_add_string(text, "\\t");
    else if (point < 0x80)
        text_printf(text, "\\x%02x", (unsigned)point);
    else
        text_printf(text, "\\u{%x}", (unsigned)point);
}

static void add_safe(struct text *text, const char *bytes, size_t length, bool quoted)
{
    for (size_t i = 0; i < length;) {
        uint32_t point;
        size_t taken = utf8_decode(bytes + i, length - i, &point);

        if (taken == 0) {
            text_printf(text, "\\x%02x", (unsigned char)bytes[i]);
            taken = 1;
        } else if (quoted && (point == '"' || point == '\\')) {
            text_add_char(text, '\\');
            text_add(text, bytes + i, 1);
        } else if (acts_on_terminal(point)) {
            add_escaped_point(text, point);
        } else {
            text_add(text, bytes + i, taken);
        }
        i += taken;
    }
}

void text_add_visible(struct text *text, const char *bytes, size_t length)
{
    add_safe(text, bytes, length, false);
}

void text_add_escaped(struct text *text, const char *bytes, size_t length)
{
    add_safe(text, bytes, length, true);
}

void text_add_json(struct text *text, const char *bytes, size_t length)
{
    text_add_char(text, '"');
    for (size_t i = 0; i < length; i++) {
        unsigned char c = (unsigned char)bytes[i];

        if (c == '"' || c == '\\') {
            text_add_char(text, '\\');
            text_add_char(text, (char)c);
        } else if (c < 0x20) {
            text_printf(text, "\\u%04x", c);
        } else {
            text_add_char(text, (char)c);
        }
    }
    text_add_char(text, '"');
}
