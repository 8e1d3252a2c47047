/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * output: what the verbs print: JSON for programs, and lines for people. Nothing that came from
 * outside can steer a terminal, in neither. There is no colour.
 * Threads: one.
 */
#include <json-c/json.h>
#include <stdbool.h>

#include "base/text.h"

/* Prints the value on one line. Characters that would act on a terminal come as \uXXXX, which is
 * the same JSON. */
void output_json(json_object *value);

/* Prints the text and flushes. False if nobody reads any more, or it can't be written, which main()
 * says. */
bool output_text(struct text *text);

/* For SCOPED. */
static inline void json_put_at(json_object **object)
{
    (void)json_object_put(*object);
}

/* The member of an object, NULL if it has none. */
json_object *output_member(json_object *object, const char *name);

/* The member as a string, "" if it has none; lent. */
const char *output_string(json_object *object, const char *name);

/* Sorts an array of objects by this member of theirs, and among equals by their agents. */
void output_sort(json_object *array, const char *member);

/* Adds what became of a sample, by a verdict of the server: `accepted  NAME{…} = 0.42`, or
 * `refused   bad_value  KEY: why`. With `in_full`, the sample as it came stands there too. */
void output_add_verdict(struct text *out, json_object *verdict, bool in_full);

/* Whether whoever reads standard output has left. */
bool output_is_closed(void);
