/* SPDX-License-Identifier: Apache-2.0 */
#include "output.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/scoped.h"
#include "base/utf8.h"
#include "grid.h"

/* JSON's escape: two of them where one has no room. */
static void add_escape(struct text *out, uint32_t point)
{
    if (point > 0xffff)
        text_printf(out, "\\u%04x\\u%04x", 0xd800 + ((point - 0x10000) >> 10),
                    0xdc00 + ((point - 0x10000) & 0x3ff));
    else
        text_printf(out, "\\u%04x", (unsigned)point);
}

/* Adds JSON; what must be escaped can only stand within a string. */
static void add_safe_json(struct text *out, const char *json, size_t length)
{
    SCOPED(text_free) struct text visible = {0};

    for (size_t i = 0; i < length;) {
        uint32_t point = 0;
        size_t taken = utf8_decode(json + i, length - i, &point);

        if (taken == 0)
            taken = 1;
        text_clear(&visible);
        if (point >= 0x7f)
            text_add_visible(&visible, json + i, taken);
        if (visible.length > 0 && (visible.length != taken || visible.at[0] == '\\'))
            add_escape(out, point);
        else
            text_add(out, json + i, taken);
        i += taken;
    }
    out->failed |= visible.failed;
}

void output_json(json_object *value)
{
    SCOPED(text_free) struct text out = {0};
    const char *json = json_object_to_json_string_ext(value, JSON_C_TO_STRING_PLAIN |
                                                                 JSON_C_TO_STRING_NOSLASHESCAPE);

    if (json != NULL)
        add_safe_json(&out, json, strlen(json));
    text_add_char(&out, '\n');
    (void)output_text(&out);
}

bool output_text(struct text *text)
{
    if (text->failed) {
        (void)fputs("rasadctl: out of memory\n", stderr);
        return false;
    }
    if (text->length > 0)
        (void)fwrite(text->at, 1, text->length, stdout);
    return fflush(stdout) == 0;
}

json_object *output_member(json_object *object, const char *name)
{
    json_object *member = NULL;

    (void)json_object_object_get_ex(object, name, &member);
    return member;
}

const char *output_string(json_object *object, const char *name)
{
    json_object *member = output_member(object, name);

    return member != NULL ? json_object_get_string(member) : "";
}

static int compare(const void *a, const void *b, void *member)
{
    json_object *one = *(json_object *const *)a, *other = *(json_object *const *)b;
    int order = strcmp(output_string(one, member), output_string(other, member));

    return order != 0 ? order : strcmp(output_string(one, "agent"), output_string(other, "agent"));
}

void output_sort(json_object *array, const char *member)
{
    size_t count = json_object_array_length(array);
    SCOPED(free_at) json_object **rows = calloc(count + 1, sizeof(json_object *));

    if (rows == NULL) /* then they stay as they are */
        return;
    for (size_t i = 0; i < count; i++)
        rows[i] = json_object_get(json_object_array_get_idx(array, i));
    qsort_r(rows, count, sizeof(json_object *), compare, (void *)(uintptr_t)member);
    for (size_t i = 0; i < count; i++)
        (void)json_object_array_put_idx(array, i, rows[i]);
}

static void add_member(struct text *out, json_object *object, const char *name)
{
    json_object *member = output_member(object, name);

    if (member != NULL)
        text_add_visible(out, json_object_get_string(member),
                         (size_t)json_object_get_string_len(member));
}

/* The value that the series has now, if it is one. */
static void add_value(struct text *out, json_object *verdict)
{
    json_object *value = output_member(verdict, "value"), *sum = output_member(verdict, "sum");

    if (value == NULL && sum == NULL)
        return;
    text_add_string(out, " = ");
    if (value != NULL) {
        grid_add_value(out, value, GRID_NUMBER);
        return;
    }
    grid_add_value(out, output_member(verdict, "count"), GRID_NUMBER);
    text_add_string(out, " (sum ");
    grid_add_value(out, sum, GRID_NUMBER);
    text_add_char(out, ')');
}

static void add_sample(struct text *out, json_object *verdict)
{
    if (output_member(verdict, "key") != NULL) {
        add_member(out, verdict, "key");
        text_add_string(out, ": ");
    }
    add_member(out, verdict, "sample");
}

static void add_refusal(struct text *out, json_object *verdict, bool in_full)
{
    bool has_text = output_string(verdict, "text")[0] != '\0';

    text_add_string(out, "refused   ");
    add_member(out, verdict, "reason");
    text_add_string(out, "  ");
    if (in_full || !has_text) {
        add_sample(out, verdict);
        text_add_string(out, has_text ? "  " : "");
    } else if (output_member(verdict, "key") != NULL) {
        add_member(out, verdict, "key");
        text_add_string(out, ": ");
    }
    add_member(out, verdict, "text");
}

void output_add_verdict(struct text *out, json_object *verdict, bool in_full)
{
    if (output_member(verdict, "series") == NULL) {
        add_refusal(out, verdict, in_full);
        return;
    }
    text_add_string(out, "accepted  ");
    if (in_full) {
        add_sample(out, verdict);
        text_add_string(out, "  ");
    }
    add_member(out, verdict, "series");
    add_value(out, verdict);
}

bool output_is_closed(void)
{
    struct pollfd polled = {.fd = STDOUT_FILENO};

    return poll(&polled, 1, 0) > 0 && (polled.revents & (POLLERR | POLLHUP)) != 0;
}
