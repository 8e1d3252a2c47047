/* SPDX-License-Identifier: Apache-2.0 */
#include "workload.h"

#include "base/crc32c.h"

const uint32_t workload_bounds[WORKLOAD_BOUNDS] = {5, 10, 25, 50};

#define MOST_SIZES 3
#define LONG_TEXT 3000 /* letters, at least, in the long messages */

/* What a message says; 0 (or false) is what it says nothing about. */
struct message {
    uint32_t pushes;
    uint32_t letters, others; /* in a text: those that count, and those that don't */
    uint32_t sizes[MOST_SIZES], size_count;
    bool sets_last;
    int32_t level;
    uint32_t path, path_adds;
    const char *whole; /* all of it, if it holds nothing that counts */
    bool as_string;    /* numbers are written as decimal strings */
};

uint64_t workload_mix(uint32_t sender, uint64_t k)
{
    /* The finalizer of splitmix64. */
    uint64_t x = ((uint64_t)sender << 40 ^ k) * UINT64_C(0x9e3779b97f4a7c15);

    x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
    return x ^ x >> 31;
}

/* One in sixteen messages is none of the common ones. */
static struct message make_rare(uint64_t bits, bool plain)
{
    struct message message = {.pushes = 1};

    switch (bits % 64) {
    case 0:
        message = (struct message){.whole = "{\"chaos_nobody\":1}"};
        break;
    case 1:
        message = (struct message){.whole = "{\"chaos_pushes\":-1}"};
        break;
    case 2:
        message = (struct message){.whole = plain ? "{\"chaos_level\":\"high\"}"
                                                  : "{\"chaos_pushes\": }, no JSON at all"};
        break;
    case 3:
        message = (struct message){.letters = 1 + (uint32_t)(bits >> 8) % 5,
                                   .others = LONG_TEXT + (uint32_t)(bits >> 16) % 20000};
        break;
    case 4:
        message = (struct message){.whole = "{}"};
        break;
    default:
        break;
    }
    return message;
}

static struct message make(uint32_t sender, uint64_t k, bool plain)
{
    uint64_t bits = workload_mix(sender, k);
    uint32_t number = (uint32_t)(bits >> 32);
    struct message message = {.as_string = (bits >> 8) % 16 == 0};

    switch (bits % 16) {
    case 0:
    case 1:
    case 2:
        message.pushes = 1 + number % 9;
        break;
    case 3:
    case 4:
        message.letters = number % 8;
        message.others = 1 + number / 8 % 12;
        break;
    case 5:
    case 6:
    case 7:
        message.sizes[message.size_count++] = number % 100;
        break;
    case 8:
    case 9:
        message.sets_last = true;
        break;
    case 10:
    case 11:
        message.path = number % WORKLOAD_PATHS;
        message.path_adds = 1 + number / WORKLOAD_PATHS % 5;
        break;
    case 12:
        message.level = (int32_t)(number % 15) - 7;
        break;
    case 13:
        message.pushes = 1;
        message.letters = 1;
        message.sizes[message.size_count++] = number % 60;
        message.sets_last = true;
        break;
    case 14:
        for (uint32_t i = 0; i < MOST_SIZES; i++)
            message.sizes[message.size_count++] = (number >> (8 * i)) % 70;
        break;
    default:
        message = make_rare(bits >> 8, plain);
        break;
    }
    return message;
}

/* ---- Its bytes ---- */

static void add_key(struct text *out, const char *key)
{
    if (out->at[out->length - 1] != '{')
        text_add_char(out, ',');
    text_add_char(out, '"');
    text_add_string(out, key);
    text_add_string(out, "\":");
}

static void add_number(struct text *out, uint64_t number, bool as_string)
{
    if (as_string)
        text_add_char(out, '"');
    text_add_u64(out, number);
    if (as_string)
        text_add_char(out, '"');
}

static void add_letters(struct text *out, const struct message *message)
{
    add_key(out, "chaos_letters");
    text_add_char(out, '"');
    for (uint32_t i = 0; i < message->letters; i++)
        text_add_char(out, i % 2 == 0 ? 'a' : 'A');
    for (uint32_t i = 0; i < message->others; i++)
        text_add_char(out, (char)('b' + i % 25));
    text_add_char(out, '"');
}

static void add_sizes(struct text *out, const struct message *message)
{
    add_key(out, "chaos_sizes");
    for (uint32_t i = 0; i < message->size_count; i++) {
        if (message->size_count > 1)
            text_add_char(out, i == 0 ? '[' : ',');
        add_number(out, message->sizes[i], message->as_string);
    }
    if (message->size_count > 1)
        text_add_char(out, ']');
}

static void add_level(struct text *out, const struct message *message)
{
    add_key(out, "chaos_level");
    text_add_string(out, "{\"add\":");
    if (message->level < 0)
        text_add_char(out, '-');
    text_add_u64(out, (uint64_t)(message->level < 0 ? -message->level : message->level));
    text_add_char(out, '}');
}

static void add_path(struct text *out, const struct message *message)
{
    add_key(out, "chaos_paths");
    text_add_string(out, "{\"value\":");
    add_number(out, message->path_adds, message->as_string);
    text_add_string(out, ",\"labels\":{\"path\":\"/");
    text_add_u64(out, message->path);
    text_add_string(out, "\"}}");
}

void workload_write(uint32_t sender, uint64_t k, bool plain, struct text *out)
{
    const struct message message = make(sender, k, plain);

    if (message.whole != NULL) {
        text_add_string(out, message.whole);
        return;
    }
    text_add_char(out, '{');
    if (out->failed)
        return;
    if (message.pushes > 0) {
        add_key(out, "chaos_pushes");
        add_number(out, message.pushes, message.as_string);
    }
    if (message.letters > 0 || message.others > 0)
        add_letters(out, &message);
    if (message.size_count > 0)
        add_sizes(out, &message);
    if (message.sets_last) {
        add_key(out, "chaos_last");
        text_add_u64(out, k);
    }
    if (message.level != 0)
        add_level(out, &message);
    if (message.path_adds > 0)
        add_path(out, &message);
    text_add_char(out, '}');
}

/* ---- What it adds up to ---- */

static void tally_sizes(struct workload_totals *totals, const struct message *message)
{
    for (uint32_t i = 0; i < message->size_count; i++) {
        totals->sizes++;
        totals->sizes_sum += message->sizes[i];
        for (uint32_t b = 0; b < WORKLOAD_BOUNDS; b++)
            totals->buckets[b] += message->sizes[i] <= workload_bounds[b];
    }
}

void workload_tally(uint32_t sender, bool plain, struct workload_totals *totals,
                    struct text *scratch)
{
    uint64_t k = ++totals->messages;
    const struct message message = make(sender, k, plain);

    text_clear(scratch);
    workload_write(sender, k, plain, scratch);
    totals->chain = crc32c(totals->chain, scratch->at, scratch->length);
    if (message.whole != NULL)
        return;
    totals->samples += (message.pushes > 0) + (message.letters > 0 || message.others > 0) +
                       message.size_count + message.sets_last + (message.level != 0) +
                       (message.path_adds > 0);
    totals->pushes += message.pushes;
    totals->letters += message.letters;
    tally_sizes(totals, &message);
    if (message.sets_last)
        totals->last = k;
    totals->level += message.level;
    totals->paths[message.path] += message.path_adds;
}
