/* SPDX-License-Identifier: Apache-2.0 */
#include "admin/json_add.h"

#include <math.h>
#include <string.h>

#include "base/number.h"
#include "base/scoped.h"
#include "base/utf8.h"

static void add_name(struct text *out, const char *name)
{
    char last = out->length > 0 ? out->at[out->length - 1] : '{';

    if (last != '{' && last != '[' && last != ':' && last != '\n')
        text_add_char(out, ',');
    if (name == NULL)
        return;
    text_add_char(out, '"');
    text_add_string(out, name);
    text_add_string(out, "\":");
}

void json_add_open(struct text *out, const char *name, char bracket)
{
    add_name(out, name);
    text_add_char(out, bracket);
}

void json_add_close(struct text *out, char bracket)
{
    text_add_char(out, bracket);
}

void json_add_bool(struct text *out, const char *name, bool value)
{
    add_name(out, name);
    text_add_string(out, value ? "true" : "false");
}

void json_add_count(struct text *out, const char *name, uint64_t value)
{
    add_name(out, name);
    text_add_u64(out, value);
}

void json_add_number(struct text *out, const char *name, double value)
{
    char number[NUMBER_LENGTH];
    size_t length = number_format(value, number);

    if (!isfinite(value)) {
        json_add_bytes(out, name, number, length);
        return;
    }
    add_name(out, name);
    text_add(out, number, length);
}

void json_add_bytes(struct text *out, const char *name, const char *bytes, size_t length)
{
    SCOPED(text_free) struct text visible = {0};

    add_name(out, name);
    if (utf8_valid(bytes, length)) {
        text_add_json(out, bytes, length);
        return;
    }
    text_add_visible(&visible, bytes, length);
    text_add_json(out, visible.at, visible.length);
    out->failed |= visible.failed;
}

void json_add_string(struct text *out, const char *name, const char *string)
{
    if (string != NULL) {
        json_add_bytes(out, name, string, strlen(string));
        return;
    }
    add_name(out, name);
    text_add_string(out, "null");
}
