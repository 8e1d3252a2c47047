/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any bytes as a record of the database: the first says of which kind, the second how many of the
 * others are its key. What is refused has a reason, what is read lies within the bytes, and what is
 * read is, written again, the same bytes.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/crc32c.h"
#include "store/record.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length);

/* A record in a block of just its size. */
struct input {
    struct record_key key;
    unsigned char *at;
    size_t size;
};

/* No fuzzer finds a sum, so every other input gets the right one. */
static void seal(struct input *input, const char *name)
{
    struct record_key key = name != NULL ? (struct record_key){name, strlen(name)} : input->key;
    uint32_t crc = crc32c(0, key.at, key.size);

    if (input->size < sizeof crc)
        return;
    crc = crc32c(crc, input->at + sizeof crc, input->size - sizeof crc);
    memcpy(input->at, &crc, sizeof crc);
}

static void check_same(const struct input *input, const struct text *again)
{
    assert(!again->failed && again->length == input->size);
    assert(memcmp(again->at, input->at, input->size) == 0);
}

static bool take_layout(struct input *input, struct rasad_error *error)
{
    struct record_layout layout;
    struct text again = {0};
    uint32_t id;

    if (!record_read_layout(input->key, input->at, input->size, &layout, error))
        return false;
    assert(record_layout_equals(&layout, &layout));
    if (input->key.size == sizeof id) {
        memcpy(&id, input->key.at, sizeof id);
        record_add_layout(&again, id, &layout);
        check_same(input, &again);
    }
    text_free(&again);
    return true;
}

static bool take_series(struct input *input, struct rasad_error *error)
{
    struct record_series series;
    struct text again = {0};
    uint64_t id;

    if (!record_read_series(input->key, input->at, input->size, &series, error))
        return false;
    memcpy(&id, input->key.at, sizeof id);
    assert(record_series_size(&series) == input->size && text_reserve(&again, input->size));
    record_put_series(again.at, id, &series);
    again.length = input->size;
    memcpy(input->at + 36, again.at + 36, 4); /* a hole, which nobody reads */
    seal(input, NULL);
    check_same(input, &again);
    text_free(&again);
    return true;
}

static bool take_stream(struct input *input, struct rasad_error *error)
{
    struct record_stream stream;
    unsigned char room[RECORD_STREAM_KEY];
    struct record_key key;
    struct text again = {0};

    if (!record_read_stream(input->key, input->at, input->size, &stream, error))
        return false;
    key = record_stream_key(&stream, room);
    assert(key.size == input->key.size && memcmp(key.at, input->key.at, key.size) == 0);
    record_add_stream(&again, &stream);
    assert(again.length <= input->size);
    text_free(&again);
    return true;
}

static bool take(struct input *input, int kind, struct rasad_error *error)
{
    struct record_commit commit;

    switch (kind) {
    case 0:
        return record_read_format(input->at, input->size, error);
    case 1:
        return record_read_commit(input->at, input->size, &commit, error);
    case 2:
        return take_layout(input, error);
    case 3:
        return take_series(input, error);
    default:
        return take_stream(input, error);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
    static const char *const names[] = {"format", "commit"};
    struct rasad_error error = {""};
    unsigned char *key;
    struct input input;
    int kind;

    if (length < 2 || bytes[1] > length - 2)
        return 0;
    kind = bytes[0] >> 1 & 7;
    key = malloc(bytes[1] + 1U);
    input = (struct input){.key = {key, bytes[1]}, .size = length - 2 - bytes[1]};
    input.at = malloc(input.size + (input.size == 0));
    assert(key != NULL && input.at != NULL);
    memcpy(key, bytes + 2, input.key.size);
    memcpy(input.at, bytes + 2 + input.key.size, input.size);
    if ((bytes[0] & 1) != 0)
        seal(&input, kind < 2 ? names[kind] : NULL);
    if (!take(&input, kind, &error))
        assert(error.text[0] != '\0');
    free(key);
    free(input.at);
    return 0;
}
