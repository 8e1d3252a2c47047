/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any bytes as what a client of the admin socket writes: requests are read as the server does it,
 * and a selector is asked about labels; whatever comes, nothing may be read beyond, and what is
 * read must keep its promises.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "admin/admin_request.h"
#include "admin/selector.h"
#include "base/frame.h"
#include "message.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length);

static void try_selector(const char *text)
{
    static const char labels[] = "agent=\"a\\\"b\",path=\"/\"";
    struct rasad_error error = {""};
    struct selector selector;

    if (selector_parse(text, &selector, &error)) {
        assert(selector.label_count <= SELECTOR_MOST_LABELS);
        (void)selector_wants_family(&selector, "http_requests");
        if (selector_wants_labels(&selector, labels, strlen(labels)) && selector.label_count == 0)
            assert(selector_wants_labels(&selector, NULL, 0));
    } else {
        assert(error.text[0] != '\0');
    }
    selector_free(&selector);
}

/* Reads a copy that ends where the request does, so that a sanitizer sees each byte too far. */
static void read_request(struct message_reader *reader, const char *bytes, size_t length,
                         uint32_t traits)
{
    char *copy = malloc(length);
    struct rasad_error error = {""};
    struct admin_request request;
    json_object *object;

    assert(copy != NULL);
    memcpy(copy, bytes, length);
    object = message_read(reader, copy, length, traits);
    free(copy);
    assert(object != NULL);
    if (!admin_request_read(object, &request, &error))
        assert(error.text[0] != '\0');
    else if (request.selector != NULL)
        try_selector(request.selector);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
    struct message_reader *reader = message_reader_new();
    struct frame frame = frame_make(65536);
    char *text = strndup((const char *)bytes, length);
    enum frame_kind kind;
    size_t at, size;

    assert(reader != NULL && text != NULL);
    try_selector(text);
    free(text);
    while ((kind = frame_next(&frame, (const char *)bytes, length, &at, &size)) != FRAME_MORE) {
        if (kind == FRAME_OBJECT)
            read_request(reader, (const char *)bytes + at, size, frame.traits);
    }
    message_reader_free(reader);
    return 0;
}
