/* SPDX-License-Identifier: Apache-2.0 */
/*
 * letter_counter: how many of the wanted letters came by. A text adds as many as it holds of them;
 * a whole number, also as a decimal string or a change, adds itself. So {"A_Pressed": "1"} is one
 * press that the sender has counted, and {"A_Pressed": "banana"} is three for us to count.
 *
 * A letter is a character of UTF-8; accents that are characters of their own count apart. States
 * merge by the sum of two integers, in any order; a fresh one is 0. A sample that would go beyond
 * 2^64 - 1 is refused; a merge that would stays there.
 */
#include <rasad/plugin.h>

struct config {
    const char *letters;
};

static const struct rasad_option options[] = {
    RASAD_OPTION_TEXT(struct config, letters, .help = "The letters to count, such as \"aA\""),
};

struct state {
    uint64_t count;
};

/* How many bytes the character at `at` takes, which ends before `end`; 0 if it is malformed
 * (RFC 3629 section 4: no overlong forms, no surrogates, nothing above U+10FFFF). */
static size_t letter_counter_step(const char *at, const char *end)
{
    const unsigned char *c = (const unsigned char *)at;
    size_t left = (size_t)(end - at);
    size_t size = c[0] < 0x80 ? 1 : c[0] < 0xc2 ? 0 : c[0] < 0xe0 ? 2 : c[0] < 0xf0 ? 3 : 4;

    if (c[0] > 0xf4 || size == 0 || size > left)
        return 0;
    for (size_t i = 1; i < size; i++) {
        if ((c[i] & 0xc0) != 0x80)
            return 0;
    }
    if ((c[0] == 0xe0 && c[1] < 0xa0) || (c[0] == 0xed && c[1] > 0x9f) ||
        (c[0] == 0xf0 && c[1] < 0x90) || (c[0] == 0xf4 && c[1] > 0x8f))
        return 0;
    return size;
}

static bool letter_counter_configure(void *config, struct rasad_error *error)
{
    const char *at = ((const struct config *)config)->letters;
    const char *end = at + strlen(at);

    if (at == end)
        return rasad_fail(error, "letters is empty (write the letters to count, such as \"aA\")");
    for (size_t step; at < end; at += step) {
        step = letter_counter_step(at, end);
        if (step == 0)
            return rasad_fail(error, "letters is not UTF-8 (save the file as UTF-8)");
    }
    return true;
}

static size_t letter_counter_state_size(const void *config)
{
    return sizeof(struct state);
}

static void letter_counter_init(const void *config, void *state)
{
    *(struct state *)state = (struct state){0};
}

static bool letter_counter_wants(const char *letters, const char *letter, size_t size)
{
    const char *end = letters + strlen(letters);

    for (size_t step; letters < end; letters += step) {
        step = letter_counter_step(letters, end);
        if (step == size && memcmp(letters, letter, size) == 0)
            return true;
    }
    return false;
}

static uint64_t letter_counter_count(const char *letters, const char *text, size_t length)
{
    const char *end = text + length;
    uint64_t count = 0;

    for (size_t step; text<end; text += step> 0 ? step : 1) {
        step = letter_counter_step(text, end);
        count += step > 0 && letter_counter_wants(letters, text, step);
    }
    return count;
}

static bool letter_counter_update(const void *config, void *state, const struct rasad_value *value,
                                  struct rasad_error *error)
{
    struct state *s = state;
    double number = value->number;
    uint64_t added, sum;

    if (value->type == RASAD_TEXT)
        added = letter_counter_count(((const struct config *)config)->letters, value->text,
                                     value->length);
    else if (value->type != RASAD_NUMBER && value->type != RASAD_CHANGE)
        return rasad_fail(error, "wants a text or a number");
    else if (!(number >= 0 && number < 0x1p64 && number == trunc(number)))
        return rasad_fail(error, "wants a whole number of letters from 0, got %g", number);
    else
        added = (uint64_t)number;
    if (__builtin_add_overflow(s->count, added, &sum))
        return rasad_fail(error, "the counter is at its end, 2^64");
    s->count = sum;
    return true;
}

static void letter_counter_merge(const void *config, void *into, const void *from)
{
    struct state *a = into;
    const struct state *b = from;

    if (__builtin_add_overflow(a->count, b->count, &a->count))
        a->count = UINT64_MAX;
}

static void letter_counter_render(const void *config, const void *state,
                                  struct rasad_writer *writer)
{
    rasad_write_count(writer, ((const struct state *)state)->count);
}

static bool letter_counter_verify(const void *config, const void *state, size_t size)
{
    return size == sizeof(struct state);
}

RASAD_PUBLIC const struct rasad_plugin rasad_plugin = {
    RASAD_PLUGIN_HEAD,
    .flags = RASAD_COMMUTATIVE,
    .kind = RASAD_COUNTER,
    .state_version = 1,
    .name = "letter_counter",
    .version = "1.0",
    .help = "How many of the wanted letters came by",
    RASAD_OPTIONS(options),
    .config_size = sizeof(struct config),
    .configure = letter_counter_configure,
    .state_size = letter_counter_state_size,
    .init = letter_counter_init,
    .update = letter_counter_update,
    .merge = letter_counter_merge,
    .render = letter_counter_render,
    .verify = letter_counter_verify,
};
