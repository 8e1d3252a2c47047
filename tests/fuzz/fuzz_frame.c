/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any bytes, cut in any way, are framed alike; what comes out as an object json-c takes as well;
 * and every sample of it is taken or refused with a reason and a text. The input's first byte tells
 * the length of the pieces that the rest comes in.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/crc32c.h"
#include "base/frame.h"
#include "base/text.h"
#include "message.h"

#define MAX_MESSAGE 512

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size);

static void read_value(json_object *value)
{
    static struct sample sample;
    struct rasad_error error = {""};
    enum reject reason = REJECT_COUNT;

    if (message_read_sample(value, INT64_C(1700000000000000000), &sample, &reason, &error)) {
        assert(sample.value.type >= RASAD_NUMBER && sample.value.type <= RASAD_TEXT);
        assert(sample.value.number - sample.value.number == 0); /* finite */
        assert(sample.value.text != NULL && sample.label_count <= MESSAGE_MAX_LABELS);
    } else {
        assert(reason < REJECT_COUNT && error.text[0] != '\0');
    }
}

static void read_object(struct message_reader *reader, const char *bytes, size_t size,
                        uint32_t traits)
{
    json_object *object = message_read(reader, bytes, size, traits);

    assert(object != NULL && json_object_is_type(object, json_type_object));
    for (struct json_object_iterator it = json_object_iter_begin(object),
                                     end = json_object_iter_end(object);
         !json_object_iter_equal(&it, &end); json_object_iter_next(&it)) {
        json_object *value = json_object_iter_peek_value(&it);

        read_value(value);
        for (size_t i = 0;
             json_object_is_type(value, json_type_array) && i < json_object_array_length(value);
             i++)
            read_value(json_object_array_get_idx(value, i));
    }
}

/* Writes down what is found, and the chain at the end. */
static void feed(struct text *found, struct message_reader *reader, const char *input, size_t size,
                 size_t piece)
{
    struct frame frame = frame_make(MAX_MESSAGE);
    struct text bytes = {0};

    frame.numbered = true;
    for (size_t i = 0; i < size; i += piece) {
        enum frame_kind kind;
        size_t at, length, drop;

        text_add(&bytes, input + i, piece < size - i ? piece : size - i);
        while ((kind = frame_next(&frame, bytes.at, bytes.length, &at, &length)) != FRAME_MORE) {
            assert(at + length <= bytes.length);
            text_printf(found, "%d ", (int)kind);
            if (kind != FRAME_OBJECT)
                continue;
            assert(length <= MAX_MESSAGE);
            text_add(found, bytes.at + at, length);
            read_object(reader, bytes.at + at, length, frame.traits);
            frame.chain = crc32c(frame.chain, bytes.at + at, length);
        }
        drop = frame_drop(&frame);
        memmove(bytes.at, bytes.at + drop, bytes.length - drop);
        bytes.length -= drop;
        assert(bytes.length <= MAX_MESSAGE + 1);
    }
    /* Of a message that goes on, the chain may hold a part already. */
    if (frame_end(&frame) == FRAME_MORE)
        text_printf(found, "%x ", (unsigned)frame.chain);
    text_printf(found, "%d", (int)frame_end(&frame));
    text_free(&bytes);
}

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size)
{
    struct message_reader *reader = message_reader_new();
    struct text whole = {0}, pieces = {0};

    if (size > 1) {
        feed(&whole, reader, (const char *)data + 1, size - 1, size);
        feed(&pieces, reader, (const char *)data + 1, size - 1, data[0] % 67 + 1);
        assert(whole.length == pieces.length && memcmp(whole.at, pieces.at, whole.length) == 0);
    }
    text_free(&whole);
    text_free(&pieces);
    message_reader_free(reader);
    return 0;
}
