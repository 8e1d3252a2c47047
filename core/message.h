/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * message: a well-formed object (base/frame.h found it so) becomes members and samples, with
 * json-c. What a message means is in docs/protocol.md; this is its only reader.
 * Threads: a reader belongs to one shard. Memory: what is read is lent until the next message.
 */
#include <json-c/json.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/text.h"
#include "reject.h"

/* Limits of the contract, in bytes. */
#define MESSAGE_MAX_KEY 1024
#define MESSAGE_MAX_LABEL_VALUE 4096

/* More members than this in a "labels" or an "exemplar" can't all be declared. */
#define MESSAGE_MAX_LABELS 64

/* A label as a message sets it. */
struct message_label {
    const char *name;  /* NUL-terminated */
    const char *value; /* UTF-8, may hold NULs */
    size_t length;
};

/* One sample: what a plugin sees, and its labels. */
struct sample {
    struct rasad_value value;
    size_t label_count;
    struct message_label labels[MESSAGE_MAX_LABELS];
    struct rasad_exemplar exemplar;
    struct rasad_label exemplar_labels[MESSAGE_MAX_LABELS];
    bool clamped; /* its time was too far ahead */
};

struct message_reader;

/* NULL if there is no memory. */
struct message_reader *message_reader_new(void);
void message_reader_free(struct message_reader *reader);

/*
 * Builds the object in these bytes; `traits` are the frame's. Owned by the reader until the next
 * call. NULL if there is no memory.
 */
json_object *message_read(struct message_reader *reader, const char *bytes, size_t length,
                          uint32_t traits);

/*
 * The bytes of a member's value as the well-formed object has them; of a name given twice those of
 * the last. NULL if no member's name is written in just these bytes, without quotes.
 */
const char *message_raw_member(const char *bytes, size_t length, const char *name, size_t *size);

/* Adds a value's bytes without the blanks that mean nothing. */
void message_add_compact(struct text *out, const char *bytes, size_t size);

/* Whether a member's name stands for one with a NUL in it, which json-c couldn't hold. */
bool message_name_has_nul(const char *name, uint32_t traits);

/*
 * Reads one sample out of a member's value, or an element of its array. `now_ns` (wall) is its time
 * if it has none. On false `*reason` and the error say why it is refused. All pointers in the
 * sample are lent by the value and, for the exemplar, by the sample itself.
 */
bool message_read_sample(json_object *json, int64_t now_ns, struct sample *sample,
                         enum reject *reason, struct rasad_error *error);
