/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What another process has left, in both ways. Whatever the values of a handover are, it is read
 * within their bounds; what is taken is written as the same bytes again, and its frames go on over
 * any bytes. The head is put before the input here, since no fuzzer guesses a checksum. A memory of
 * where sockets stood says what it may say afterwards, whatever it said.
 */
#include <assert.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/crc32c.h"
#include "base/memory_file.h"
#include "handover/handover_wire.h"
#include "handover/standing.h"

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

/* As much as such a memory has. Its slots follow each other from where the input's words begin. */
static int put_memory(const unsigned char *data, size_t size)
{
    static const char head[12] = "rasadstd\2";
    int fd = memory_file("standing");

    assert(fd >= 0 && ftruncate(fd, (off_t)standing_bytes()) == 0);
    assert(pwrite(fd, head, sizeof head, 0) == sizeof head);
    assert(pwrite(fd, data, size, sizeof head) == (ssize_t)size);
    assert(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK) == 0);
    return fd;
}

static void read_memory(const unsigned char *data, size_t size)
{
    struct standing *standing;
    struct rasad_error error = {""};
    struct handover_sockets place;
    uint64_t cookies[SOCKETS_MOST], cookie;

    /* Mapping it takes its time, so there is to be a slot at least. */
    if (size < 800 || size > standing_bytes() - 12 ||
        !standing_open(put_memory(data, size), &standing, &error))
        return;
    for (size_t at = 0; at + sizeof cookie <= size; at += 4) {
        const struct standing_slot *slot;

        memcpy(&cookie, data + at, sizeof cookie);
        slot = standing_find(standing, cookie);
        assert(slot == NULL || (standing_state(slot) < STANDING_STATES &&
                                memchr(slot->address, '\0', sizeof slot->address) != NULL));
    }
    if (standing_was_place(standing, HANDOVER_LISTEN, &place, cookies))
        assert(place.count <= SOCKETS_MOST && place.address.length < 256);
    if (standing_was_place(standing, HANDOVER_HTTP, &place, cookies))
        assert(place.count <= SOCKETS_MOST && place.address.length < 256);
    standing_settle(standing); /* nobody listens */
    standing_tell(standing);
    standing_leave(standing);
    standing_close(standing);
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
    read_memory(data, size);
    return 0;
}
