/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * json_add: JSON written straight into a text, member by member: for replies that may hold a
 * hundred thousand rows, for which a tree would take many times the memory.
 * Threads: none inside. Memory: the caller's text, which remembers a failure.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/text.h"

/*
 * Each adds a value, with a comma before it if it isn't the first of its object or array. `name` is
 * that of the member, made of letters and '_'; NULL in an array and for the outermost value.
 */
void json_add_open(struct text *out, const char *name, char bracket); /* '{' or '[' */
void json_add_close(struct text *out, char bracket);                  /* '}' or ']' */
void json_add_bool(struct text *out, const char *name, bool value);
void json_add_count(struct text *out, const char *name, uint64_t value);

/* The shortest decimal that is the same double; "NaN", "+Inf" and "-Inf" as strings. */
void json_add_number(struct text *out, const char *name, double value);

/* A string; bytes that are no UTF-8 come as \xNN. */
void json_add_bytes(struct text *out, const char *name, const char *bytes, size_t length);

/* NUL-terminated; NULL is null. */
void json_add_string(struct text *out, const char *name, const char *string);
