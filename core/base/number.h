/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * number: numbers, durations and sizes as text, whatever the locale.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Room for what number_format() writes, with its NUL. */
#define NUMBER_LENGTH 32

/* Whether the text is a number in RFC 8259's grammar (section 6) and nothing else. */
bool number_is_json(const char *text, size_t length);

/* The value of a text in RFC 8259's grammar: false if it is none or overflows to infinity. */
bool number_parse(const char *text, size_t length, double *number);

/*
 * Writes the shortest decimal that strtod() reads back as the same double, in Go's style as the
 * exposition formats want it: "1", "0.1", "1e-07", "NaN", "+Inf", "-Inf". Whole numbers below 2^53
 * come without exponent. Returns the length.
 */
size_t number_format(double number, char text[NUMBER_LENGTH]);

/* A duration: "N" and one of ms, s, m, h, d, such as "5m"; N may have a fraction. Nanoseconds;
 * false if it is none, or longer than 292 years. */
bool duration_parse(const char *text, int64_t *duration_ns);

/* A number of bytes: "65536", "64KiB", "64MiB" or "1GiB"; false if it is none, or beyond 2^63. */
bool size_parse(const char *text, uint64_t *bytes);
