/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whatever the values of a handover are, it is read within their bounds; what is taken is written
 * as the same bytes again, and its frames go on over any bytes. The head is put before the input
 * here, since no fuzzer guesses a checksum.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/crc32c.h"
#include "handover/handover_wire.h"

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size);

static void put_head(struct text *bytes, const unsigned char *data, size_t size)
{
    const struct handover nothing = {.asker = -1};
    uint32_t crc = crc32c(0, data, size);
    uint64_t length = size;

    handover_write(&nothing, bytes); /* the magic and the version are right */
    bytes->length = HANDOVER_HEAD_BYTES;
    memcpy(bytes->at + 12, &crc, sizeof crc);
    memcpy(bytes->at + 16, &length, sizeof length);
    text_add(bytes, data, size);
}

/* What a connection kept, and any bytes behind it. */
static void go_on(const struct handover_connection *connection)
{
    static const char rest[] = "}]\"1}\n{\"a\":[1,\"\\u00e9\"]}\n !DISCONNECT";
    struct frame frame = connection->frame;
    struct text in = {0};
    size_t at, size;

    text_add(&in, connection->in.at, connection->in.length);
    text_add_string(&in, rest);
    while (frame_next(&frame, in.at, in.length, &at, &size) != FRAME_MORE)
        assert(at + size <= in.length);
    assert(frame_drop(&frame) <= in.length);
    text_free(&in);
}

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size)
{
    struct text bytes = {0}, again = {0};
    struct rasad_error error = {""};
    struct handover handover;

    put_head(&bytes, data, size);
    if (handover_read(bytes.at, bytes.length, &handover, &error)) {
        handover_write(&handover, &again);
        assert(again.length == bytes.length && memcmp(again.at, bytes.at, bytes.length) == 0);
        for (size_t i = 0; i < handover.connection_count; i++)
            go_on(&handover.connections[i]);
        handover_free(&handover);
    } else {
        assert(error.text[0] != '\0');
    }
    text_free(&bytes);
    text_free(&again);
    return 0;
}
