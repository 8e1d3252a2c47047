/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * text: a growing run of bytes. A failed allocation is remembered in `failed` and makes all later
 * calls do nothing, so a writer checks once, at its end.
 * Threads: none inside. Memory: owned by the text; text_free() gives it back.
 */
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct text {
    char *at; /* NULL while nothing was ever added; not NUL-terminated, see text_end() */
    size_t length;
    size_t capacity;
    bool failed; /* an allocation failed: the content is not complete */
};

/* Frees the bytes and makes the text empty. Fits SCOPED. */
void text_free(struct text *text);

/* Forgets the content, keeps the memory. */
void text_clear(struct text *text);

/* Makes room for `extra` more bytes; false (and `failed`) if there is none. */
bool text_reserve(struct text *text, size_t extra);

void text_add(struct text *text, const void *bytes, size_t length);
void text_add_string(struct text *text, const char *string);
void text_add_char(struct text *text, char c);
void text_add_u64(struct text *text, uint64_t number);
__attribute__((format(printf, 2, 3))) void text_printf(struct text *text, const char *format, ...);

/* The content as a NUL-terminated string, owned by the text until it changes; "" when it failed. */
const char *text_end(struct text *text);

/*
 * Adds bytes from outside so that they can't forge a line or steer a terminal: control characters
 * (C0, DEL, C1), invisible direction and line separators, and what is no UTF-8 come as \n, \t,
 * \xNN or \u{N}. Quotes and backslashes stay as they are, so this is for people's eyes.
 */
void text_add_visible(struct text *text, const char *bytes, size_t length);

/* The same, and \" and \\ for double quote and backslash: between quotes it can be read back. */
void text_add_escaped(struct text *text, const char *bytes, size_t length);

/* Adds a JSON string (RFC 8259 section 7) with its quotes. The bytes must be UTF-8. */
void text_add_json(struct text *text, const char *bytes, size_t length);
