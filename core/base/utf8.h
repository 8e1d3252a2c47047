/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * utf8: well-formed UTF-8 (RFC 3629: no overlong forms, no surrogates, nothing above U+10FFFF).
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The bytes that the first character takes (1 to 4) and its code point; 0 if it is malformed or
 * cut. `length` is at least 1. */
size_t utf8_decode(const char *bytes, size_t length, uint32_t *point);

/* Whether all of it is well-formed. */
bool utf8_valid(const char *bytes, size_t length);
