/* SPDX-License-Identifier: Apache-2.0 */
#include "message.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/frame.h"
#include "base/number.h"
#include "base/text.h"

/* How far ahead of our clock a sample's time may be before it is clamped. */
#define MAX_AHEAD_NS (5 * 60 * NS_PER_S)

/* Labels of an exemplar: names and values together (OpenMetrics 1.0 § Exemplars). */
#define EXEMPLAR_MAX_CHARACTERS 128

/*
 * json-c holds names as C strings, so a NUL would cut one short and make it another. It is handed
 * U+FFFF instead, a noncharacter: what looks like one with a NUL in a message that has a NUL in
 * some name is taken for one.
 */
#define NUL_ESCAPE "\\u0000"
#define NUL_STAND_IN_ESCAPE "\\uffff"
#define NUL_STAND_IN "\xef\xbf\xbf"

struct message_reader {
    json_tokener *tokener;
    json_object *object; /* the current message */
    struct text softened;
};

struct message_reader *message_reader_new(void)
{
    struct message_reader *reader = calloc(1, sizeof *reader);

    if (reader == NULL)
        return NULL;
    /* The frame has bounded the depth already. */
    reader->tokener = json_tokener_new_ex(2 * FRAME_MAX_DEPTH);
    if (reader->tokener == NULL) {
        free(reader);
        return NULL;
    }
    /* Not strict: the frame is that already, and json-c 0.18 then takes all beyond ASCII for
     * control characters. */
    return reader;
}

void message_reader_free(struct message_reader *reader)
{
    if (reader == NULL)
        return;
    (void)json_object_put(reader->object);
    json_tokener_free(reader->tokener);
    text_free(&reader->softened);
    free(reader);
}

/* The length of the string that begins at bytes[at], with its quotes. */
static size_t string_length(const char *bytes, size_t at)
{
    size_t i = at + 1;

    while (bytes[i] != '"')
        i += bytes[i] == '\\' ? 2 : 1;
    return i + 1 - at;
}

static void add_name(struct text *out, const char *name, size_t length)
{
    size_t escape = strlen(NUL_ESCAPE);

    for (size_t i = 0; i < length;) {
        if (length - i >= escape && memcmp(name + i, NUL_ESCAPE, escape) == 0) {
            text_add_string(out, NUL_STAND_IN_ESCAPE);
            i += escape;
        } else { /* an escape goes as a whole, so that "\\u0000" is a backslash and a text */
            size_t taken = name[i] == '\\' ? 2 : 1;

            text_add(out, name + i, taken);
            i += taken;
        }
    }
}

/* The number that begins at bytes[at]: json-c clamps integers that int64_t can't hold, but takes
 * the same digits with a point as a double. What follows a number ends the search. */
static size_t add_number(struct text *out, const char *bytes, size_t at)
{
    size_t digits = strspn(bytes + at, "-0123456789");
    size_t length = digits + strspn(bytes + at + digits, "+-.0123456789eE");

    text_add(out, bytes + at, length);
    if (length > 18 && length == digits)
        text_add_string(out, ".0");
    return length;
}

/* Writes the well-formed object anew so that json-c holds it without loss. */
static bool soften(struct text *out, const char *bytes, size_t length)
{
    text_clear(out);
    for (size_t i = 0; i < length;) {
        size_t taken = 1;

        if (bytes[i] == '"') {
            size_t after;

            taken = string_length(bytes, i);
            after = i + taken + strspn(bytes + i + taken, " \t\r\n");
            if (bytes[after] == ':')
                add_name(out, bytes + i, taken);
            else
                text_add(out, bytes + i, taken);
        } else if (bytes[i] == '-' || (bytes[i] >= '0' && bytes[i] <= '9')) {
            taken = add_number(out, bytes, i);
        } else {
            text_add_char(out, bytes[i]);
        }
        i += taken;
    }
    return !out->failed;
}

json_object *message_read(struct message_reader *reader, const char *bytes, size_t length,
                          uint32_t traits)
{
    (void)json_object_put(reader->object);
    reader->object = NULL;
    if ((traits & (FRAME_HAS_NUL | FRAME_HAS_BIG)) != 0) {
        if (!soften(&reader->softened, bytes, length))
            return NULL;
        bytes = reader->softened.at;
        length = reader->softened.length;
    }
    json_tokener_reset(reader->tokener);
    reader->object = json_tokener_parse_ex(reader->tokener, bytes, (int)length);
    return reader->object;
}

static size_t blanks(const char *bytes)
{
    return strspn(bytes, " \t\r\n");
}

/* The length of the value at bytes[at], with all that it holds. */
static size_t value_length(const char *bytes, size_t at)
{
    size_t depth = 0, i = at;

    do {
        if (bytes[i] == '"') {
            i += string_length(bytes, i);
            continue;
        }
        depth += bytes[i] == '{' || bytes[i] == '[';
        depth -= bytes[i] == '}' || bytes[i] == ']';
        i++;
    } while (depth > 0 || strchr(",} \t\r\n", bytes[i]) == NULL);
    return i - at;
}

const char *message_raw_member(const char *bytes, size_t length, const char *name, size_t *size)
{
    size_t wanted = strlen(name);
    const char *found = NULL;

    for (size_t at = 1 + blanks(bytes + 1); at < length && bytes[at] == '"';) {
        size_t quoted = string_length(bytes, at), value;
        bool same = quoted == wanted + 2 && memcmp(bytes + at + 1, name, wanted) == 0;

        value = at + quoted + blanks(bytes + at + quoted) + 1; /* behind the colon */
        value += blanks(bytes + value);
        at = value + value_length(bytes, value);
        if (same) {
            found = bytes + value;
            *size = at - value;
        }
        at += blanks(bytes + at);
        if (bytes[at] == ',')
            at += 1 + blanks(bytes + at + 1);
    }
    return found;
}

void message_add_compact(struct text *out, const char *bytes, size_t size)
{
    for (size_t i = 0; i < size;) {
        size_t taken = bytes[i] == '"' ? string_length(bytes, i) : 1;

        if (strchr(" \t\r\n", bytes[i]) == NULL)
            text_add(out, bytes + i, taken);
        i += taken;
    }
}

bool message_name_has_nul(const char *name, uint32_t traits)
{
    return (traits & FRAME_HAS_NUL) != 0 && strstr(name, NUL_STAND_IN) != NULL;
}

static const char *type_name(json_object *json)
{
    switch (json_object_get_type(json)) {
    case json_type_null:
        return "null";
    case json_type_boolean:
        return json_object_get_boolean(json) ? "true" : "false";
    case json_type_array:
        return "an array";
    case json_type_object:
        return "an object";
    default:
        return "a value";
    }
}

static bool fail_sample(enum reject reason, enum reject *out, struct rasad_error *error,
                        const char *what, const char *name)
{
    *out = reason;
    return rasad_fail(error, "%s%s%s", what, name != NULL ? " " : "", name != NULL ? name : "");
}

/* A JSON number or a decimal string as a finite number. */
static bool read_number(json_object *json, double *number)
{
    if (json_object_is_type(json, json_type_string))
        return number_parse(json_object_get_string(json), (size_t)json_object_get_string_len(json),
                            number);
    if (!json_object_is_type(json, json_type_int) && !json_object_is_type(json, json_type_double))
        return false;
    *number = json_object_get_double(json);
    return isfinite(*number);
}

/* The value itself: a number, a decimal string, or a text. */
static bool read_value(json_object *json, struct rasad_value *value, enum reject *reason,
                       struct rasad_error *error)
{
    bool is_string = json_object_is_type(json, json_type_string);

    value->type = RASAD_NUMBER;
    value->text = "";
    if (is_string) {
        value->text = json_object_get_string(json);
        value->length = (uint64_t)json_object_get_string_len(json);
    }
    if (read_number(json, &value->number))
        return true;
    if (!is_string) {
        bool number = json_object_is_type(json, json_type_double);

        return fail_sample(REJECT_BAD_VALUE, reason, error,
                           number ? "the number is too large" : "wants a number or a text, got",
                           number ? NULL : type_name(json));
    }
    if (number_is_json(value->text, value->length))
        return fail_sample(REJECT_BAD_VALUE, reason, error, "the number is too large", NULL);
    value->type = RASAD_TEXT;
    return true;
}

static bool read_labels(json_object *json, struct sample *sample, enum reject *reason,
                        struct rasad_error *error)
{
    if (!json_object_is_type(json, json_type_object))
        return fail_sample(REJECT_BAD_LABEL, reason, error, "\"labels\" is no object", NULL);
    for (struct json_object_iterator it = json_object_iter_begin(json),
                                     end = json_object_iter_end(json);
         !json_object_iter_equal(&it, &end); json_object_iter_next(&it)) {
        json_object *value = json_object_iter_peek_value(&it);
        struct message_label *label = &sample->labels[sample->label_count];

        if (sample->label_count == MESSAGE_MAX_LABELS)
            return fail_sample(REJECT_BAD_LABEL, reason, error, "it has too many labels", NULL);
        label->name = json_object_iter_peek_name(&it);
        if (!json_object_is_type(value, json_type_string))
            return fail_sample(REJECT_BAD_LABEL, reason, error, "no text in label", label->name);
        label->value = json_object_get_string(value);
        label->length = (size_t)json_object_get_string_len(value);
        if (label->length > MESSAGE_MAX_LABEL_VALUE)
            return fail_sample(REJECT_TOO_LONG, reason, error, "more than 4 KiB in label",
                               label->name);
        sample->label_count++;
    }
    return true;
}

static bool read_exemplar(json_object *json, struct sample *sample, enum reject *reason,
                          struct rasad_error *error)
{
    size_t characters = 0;

    if (!json_object_is_type(json, json_type_object))
        return fail_sample(REJECT_BAD_VALUE, reason, error, "\"exemplar\" is no object", NULL);
    for (struct json_object_iterator it = json_object_iter_begin(json),
                                     end = json_object_iter_end(json);
         !json_object_iter_equal(&it, &end); json_object_iter_next(&it)) {
        json_object *value = json_object_iter_peek_value(&it);
        struct rasad_label *label = &sample->exemplar_labels[sample->exemplar.label_count];

        label->name = json_object_iter_peek_name(&it);
        if (!json_object_is_type(value, json_type_string))
            return fail_sample(REJECT_BAD_LABEL, reason, error, "no text in exemplar label",
                               label->name);
        label->value = json_object_get_string(value);
        characters += strlen(label->name) + strlen(label->value);
        if (characters > EXEMPLAR_MAX_CHARACTERS ||
            ++sample->exemplar.label_count == MESSAGE_MAX_LABELS)
            return fail_sample(REJECT_BAD_LABEL, reason, error,
                               "the exemplar has more than 128 characters", NULL);
    }
    sample->exemplar.labels = sample->exemplar_labels;
    sample->value.exemplar = &sample->exemplar;
    return true;
}

/* The sample's own time; one too far ahead would win over all that come after it. */
static bool read_time(json_object *json, int64_t now_ns, struct sample *sample, enum reject *reason,
                      struct rasad_error *error)
{
    double seconds;

    if (!read_number(json, &seconds) || seconds < 0)
        return fail_sample(REJECT_BAD_VALUE, reason, error,
                           "\"time\" is no number of seconds since 1970", NULL);
    sample->clamped = seconds * 1e9 > (double)(now_ns + MAX_AHEAD_NS);
    sample->value.time_ns = sample->clamped ? now_ns + MAX_AHEAD_NS : (int64_t)(seconds * 1e9);
    return true;
}

static bool read_change(json_object *json, struct sample *sample, enum reject *reason,
                        struct rasad_error *error)
{
    sample->value.type = RASAD_CHANGE;
    sample->value.text = "";
    if (!read_number(json, &sample->value.number))
        return fail_sample(REJECT_BAD_VALUE, reason, error, "\"add\" is no finite number", NULL);
    return true;
}

/* One member of the object form. */
static bool read_member(const char *name, json_object *json, int64_t now_ns, struct sample *sample,
                        enum reject *reason, struct rasad_error *error)
{
    if (strcmp(name, "labels") == 0)
        return read_labels(json, sample, reason, error);
    if (strcmp(name, "time") == 0)
        return read_time(json, now_ns, sample, reason, error);
    if (strcmp(name, "exemplar") == 0)
        return read_exemplar(json, sample, reason, error);
    if (strcmp(name, "value") != 0 && strcmp(name, "add") != 0)
        return fail_sample(REJECT_BAD_VALUE, reason, error, "unknown member", name);
    if (sample->value.type != 0)
        return fail_sample(REJECT_BAD_VALUE, reason, error,
                           "both \"value\" and \"add\" (write one of them)", NULL);
    return name[0] == 'a' ? read_change(json, sample, reason, error)
                          : read_value(json, &sample->value, reason, error);
}

static bool read_object(json_object *json, int64_t now_ns, struct sample *sample,
                        enum reject *reason, struct rasad_error *error)
{
    for (struct json_object_iterator it = json_object_iter_begin(json),
                                     end = json_object_iter_end(json);
         !json_object_iter_equal(&it, &end); json_object_iter_next(&it)) {
        if (!read_member(json_object_iter_peek_name(&it), json_object_iter_peek_value(&it), now_ns,
                         sample, reason, error))
            return false;
    }
    if (sample->value.type == 0)
        return fail_sample(REJECT_BAD_VALUE, reason, error,
                           "neither \"value\" nor \"add\" (write one of them)", NULL);
    return true;
}

bool message_read_sample(json_object *json, int64_t now_ns, struct sample *sample,
                         enum reject *reason, struct rasad_error *error)
{
    sample->value = (struct rasad_value){.size = sizeof sample->value, .time_ns = now_ns};
    sample->label_count = 0;
    sample->exemplar.label_count = 0;
    sample->clamped = false;
    if (json_object_is_type(json, json_type_object))
        return read_object(json, now_ns, sample, reason, error);
    return read_value(json, &sample->value, reason, error);
}
