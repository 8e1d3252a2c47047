/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any bytes as what a server writes: those that the frame finds to be objects must be read without
 * looking beyond them, and what is read must keep its promises. The others must not harm either,
 * since nothing but the frame stands between.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/frame.h"
#include "reply.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length);

/* Reads a copy that ends where the reply does, so that a sanitizer sees each byte too far. */
static void read_reply(const char *bytes, size_t length)
{
    char *copy = malloc(length > 0 ? length : 1);
    struct reply reply;

    assert(copy != NULL);
    memcpy(copy, bytes, length);
    reply = reply_parse(copy, length);
    assert(reply.kind != REPLY_WELCOME || reply.committed <= reply.applied);
    assert(memchr(reply.reason, '\0', sizeof reply.reason) != NULL);
    assert(memchr(reply.text, '\0', sizeof reply.text) != NULL);
    free(copy);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
    struct frame frame = frame_make(65536);
    enum frame_kind kind;
    size_t at, size;

    read_reply((const char *)bytes, length);
    while ((kind = frame_next(&frame, (const char *)bytes, length, &at, &size)) != FRAME_MORE) {
        if (kind == FRAME_OBJECT)
            read_reply((const char *)bytes + at, size);
    }
    return 0;
}
