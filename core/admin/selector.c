/* SPDX-License-Identifier: Apache-2.0 */
#include "admin/selector.h"

#include <fnmatch.h>
#include <stdlib.h>
#include <string.h>

#include "base/scoped.h"

#define NAME_CHARACTERS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_"

/* The length of a value with its quotes, as expositions write it; 0 if it is none. */
static size_t value_length(const char *text)
{
    size_t i = 1;

    if (text[0] != '"')
        return 0;
    while (text[i] != '"') {
        if (text[i] == '\\') {
            i++;
            if (text[i] != '\\' && text[i] != '"' && text[i] != 'n')
                return 0;
        }
        if (text[i] == '\0' || text[i] == '\n')
            return 0;
        i++;
    }
    return i + 1;
}

/* Takes name="value" in; the rest of the text, or NULL. */
static const char *take_label(const char *text, struct selector *selector,
                              struct rasad_error *error)
{
    size_t name = strspn(text, NAME_CHARACTERS), value;
    const char *behind = text + name + strspn(text + name, " ");

    if (name == 0 || *behind != '=') {
        (void)rasad_fail(error, "a label is missing at \"%.60s\" (write NAME{label=\"value\"})",
                         text);
        return NULL;
    }
    behind += 1 + strspn(behind + 1, " ");
    value = value_length(behind);
    if (value == 0) {
        (void)rasad_fail(error, "label \"%.*s\" has no value in quotes (write %.*s=\"value\")",
                         (int)(name < 60 ? name : 60), text, (int)(name < 60 ? name : 60), text);
        return NULL;
    }
    if (selector->label_count == SELECTOR_MOST_LABELS) {
        (void)rasad_fail(error, "more than %d labels", SELECTOR_MOST_LABELS);
        return NULL;
    }
    text_add(&selector->labels, text, name);
    text_add_char(&selector->labels, '=');
    text_add(&selector->labels, behind, value);
    selector->ends[selector->label_count++] = selector->labels.length;
    return behind + value;
}

/* What stands behind the '{'. */
static bool take_labels(const char *text, struct selector *selector, struct rasad_error *error)
{
    for (;;) {
        text += strspn(text, " ");
        if (*text == '}')
            break;
        text = take_label(text, selector, error);
        if (text == NULL)
            return false;
        text += strspn(text, " ");
        if (*text == ',')
            text++;
        else if (*text != '}')
            return rasad_fail(error, "the labels have no end (write NAME{label=\"value\"})");
    }
    if (text[1] != '\0')
        return rasad_fail(error, "something follows the labels: \"%.60s\"", text + 1);
    return !selector->labels.failed || rasad_fail_memory(error);
}

bool selector_parse(const char *text, struct selector *selector, struct rasad_error *error)
{
    size_t glob = text != NULL ? strcspn(text, "{") : 0;

    *selector = (struct selector){.glob = NULL};
    if (glob > 0) {
        selector->glob = strndup(text, glob);
        if (selector->glob == NULL)
            return rasad_fail_memory(error);
    }
    return text == NULL || text[glob] == '\0' || take_labels(text + glob + 1, selector, error);
}

bool selector_wants_family(const struct selector *selector, const char *name)
{
    SCOPED(text_free) struct text total = {0};

    if (selector->glob == NULL || fnmatch(selector->glob, name, 0) == 0)
        return true;
    text_add_string(&total, name);
    text_add_string(&total, "_total");
    return fnmatch(selector->glob, text_end(&total), 0) == 0;
}

/* The length of the first label in a list of them, without the comma behind it. */
static size_t first_label(const char *labels, size_t length)
{
    const char *quote = memchr(labels, '"', length);
    size_t i = quote != NULL ? (size_t)(quote - labels) + 1 : length;

    while (i < length && labels[i] != '"')
        i += labels[i] == '\\' ? 2 : 1;
    return i < length ? i + 1 : length;
}

/* Whether the wanted label, or for an empty one no label of its name, is among them. */
static bool wants(const char *wanted, size_t wanted_length, const char *labels, size_t length)
{
    size_t name = (size_t)((const char *)memchr(wanted, '=', wanted_length) - wanted) + 1;
    bool empty = wanted_length == name + 2;

    while (length > 0) {
        size_t label = first_label(labels, length), step = label < length ? label + 1 : length;

        if (label > name && memcmp(labels, wanted, name) == 0)
            return label == wanted_length && memcmp(labels, wanted, label) == 0;
        labels += step;
        length -= step;
    }
    return empty;
}

bool selector_wants_labels(const struct selector *selector, const char *labels, size_t length)
{
    for (size_t i = 0, start = 0; i < selector->label_count; start = selector->ends[i++]) {
        if (!wants(selector->labels.at + start, selector->ends[i] - start, labels, length))
            return false;
    }
    return true;
}

void selector_free(struct selector *selector)
{
    free(selector->glob);
    text_free(&selector->labels);
    *selector = (struct selector){.glob = NULL};
}
