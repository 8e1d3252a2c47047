/* SPDX-License-Identifier: Apache-2.0 */
#include "output.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/number.h"
#include "base/scoped.h"
#include "base/utf8.h"

/* A message goes out when it has grown beyond this, far below what a server takes. */
#define MESSAGE_BYTES (64 << 10)

/* Names of mount points and interfaces may be any bytes; those that are no UTF-8 become U+FFFD. */
static void add_json(struct text *text, const char *string)
{
    SCOPED(text_free) struct text valid = {0};

    for (size_t left = strlen(string); left > 0;) {
        uint32_t point;
        size_t taken = utf8_decode(string, left, &point);

        if (taken == 0)
            text_add_string(&valid, "\xef\xbf\xbd");
        else
            text_add(&valid, string, taken);
        taken += taken == 0;
        string += taken;
        left -= taken;
    }
    text_add_json(text, valid.at != NULL ? valid.at : "", valid.length);
    text->failed = text->failed || valid.failed;
}

static void push(struct output *output, struct text *message)
{
    if (message->failed)
        output->failed = true;
    else
        output->sink->push(output->sink->user, message->at, message->length);
}

static void flush(struct output *output)
{
    SCOPED(text_free) struct text message = {0};

    for (size_t i = 0; i < output->member_count; i++) {
        struct output_member *member = &output->members[i];
        bool array = member->count > 1;

        text_add_char(&message, i == 0 ? '{' : ',');
        add_json(&message, member->key);
        text_add_string(&message, array ? ":[" : ":");
        text_add(&message, member->values.at, member->values.length);
        if (array)
            text_add_char(&message, ']');
        message.failed = message.failed || member->values.failed;
        free(member->key);
        text_free(&member->values);
    }
    text_add_char(&message, '}');
    if (output->member_count > 0)
        push(output, &message);
    output->member_count = 0;
    output->bytes = 0;
}

/* The member for this key; NULL without memory. */
static struct output_member *find_member(struct output *output, const char *key)
{
    struct output_member *grown;

    for (size_t i = 0; i < output->member_count; i++) {
        if (strcmp(output->members[i].key, key) == 0)
            return &output->members[i];
    }
    grown = reallocarray(output->members, output->member_count + 1, sizeof *grown);
    if (grown == NULL)
        return NULL;
    output->members = grown;
    grown += output->member_count;
    *grown = (struct output_member){.key = strdup(key)};
    if (grown->key == NULL)
        return NULL;
    output->member_count++;
    return grown;
}

static void add_number(struct text *text, double value, const char *const *labels)
{
    char number[NUMBER_LENGTH];
    size_t length = number_format(value, number);

    if (labels == NULL || labels[0] == NULL) {
        text_add(text, number, length);
        return;
    }
    text_add_string(text, "{\"value\":");
    text_add(text, number, length);
    text_add_string(text, ",\"labels\":{");
    for (size_t i = 0; labels[i] != NULL; i += 2) {
        if (i > 0)
            text_add_char(text, ',');
        add_json(text, labels[i]);
        text_add_char(text, ':');
        add_json(text, labels[i + 1]);
    }
    text_add_string(text, "}}");
}

static bool is_declared(struct output *output, const char *key)
{
    if (collector_sends(output->collector, key))
        return true;
    output->undeclared = true;
    return false;
}

static void output_number(struct rasad_output *out, const char *key, double value,
                          const char *const *labels)
{
    struct output *output = (struct output *)out;
    struct output_member *member;
    size_t before;

    if (!isfinite(value) || !is_declared(output, key))
        return;
    member = find_member(output, key);
    if (member == NULL) {
        output->failed = true;
        return;
    }
    before = member->values.length;
    if (member->count++ > 0)
        text_add_char(&member->values, ',');
    add_number(&member->values, value, labels);
    output->bytes += member->values.length - before;
    if (output->bytes > MESSAGE_BYTES)
        flush(output);
}

static void output_text(struct rasad_output *out, const char *key, const char *text)
{
    struct output *output = (struct output *)out;
    SCOPED(text_free) struct text message = {0};

    if (!is_declared(output, key))
        return;
    text_add_char(&message, '{');
    add_json(&message, key);
    text_add_char(&message, ':');
    add_json(&message, text);
    text_add_char(&message, '}');
    push(output, &message);
}

static void output_ping(struct rasad_output *out)
{
    const struct output *output = (const struct output *)out;

    output->sink->ping(output->sink->user);
}

void output_begin(struct output *output, const struct collector *collector, const struct sink *sink,
                  const char *proc, int64_t now_ns, uint64_t seed)
{
    output->base = (struct rasad_output){.size = sizeof output->base,
                                         .now_ns = now_ns,
                                         .seed = seed,
                                         .proc = proc,
                                         .number = output_number,
                                         .text = output_text,
                                         .ping = output_ping};
    output->collector = collector;
    output->sink = sink;
    output->failed = false;
    output->undeclared = false;
}

bool output_end(struct output *output)
{
    flush(output);
    return !output->failed;
}

void output_free(struct output *output)
{
    for (size_t i = 0; i < output->member_count; i++) {
        free(output->members[i].key);
        text_free(&output->members[i].values);
    }
    free(output->members);
    *output = (struct output){0};
}
