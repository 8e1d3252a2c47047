/* SPDX-License-Identifier: Apache-2.0 */
#include "entry.h"

#include "base/crc32c.h"
#include "little.h"

#define KIND_BITS 0xffu
#define GROUP_SHIFT 8
#define FIRST_BIT (1u << 31)

static uint32_t entry_crc(const unsigned char stream[SEGMENT_STREAM_BYTES], const char *at,
                          size_t length)
{
    uint32_t crc = crc32c(0, stream, SEGMENT_STREAM_BYTES);

    crc = crc32c(crc, at, 4); /* the length; behind it is the CRC */
    return crc32c(crc, at + 8, ENTRY_HEAD_BYTES - 8 + length);
}

void entries_add(struct text *entries, const struct entry *entry, const char *bytes)
{
    char head[ENTRY_HEAD_BYTES];

    little_put_u32(head, entry->length);
    little_put_u32(head + 4, 0);
    little_put_u64(head + 8, entry->number);
    little_put_u64(head + 16, entry->origin);
    little_put_u32(head + 24, entry->kind);
    little_put_u32(head + 28, entry->chain);
    if (!text_reserve(entries, sizeof head + entry->length))
        return;
    text_add(entries, head, sizeof head);
    if (entry->length > 0)
        text_add(entries, bytes, entry->length);
}

void entries_seal(struct text *entries, const unsigned char stream[SEGMENT_STREAM_BYTES],
                  uint32_t group)
{
    for (size_t at = 0; at < entries->length;) {
        char *entry = entries->at + at;
        uint32_t length = little_get_u32(entry);

        little_put_u32(entry + 24, (little_get_u32(entry + 24) & KIND_BITS) | group << GROUP_SHIFT |
                                       (at == 0 ? FIRST_BIT : 0));
        little_put_u32(entry + 4, entry_crc(stream, entry, length));
        at += ENTRY_HEAD_BYTES + length;
    }
}

void segment_end_pass(struct segment_end *end, const struct entry *entry, const char *bytes)
{
    switch (entry->kind) {
    case ENTRY_MESSAGE:
    case ENTRY_SKIP:
        end->next = entry->number + 1;
        end->origin = entry->origin;
        end->chain = crc32c(entry->chain, bytes, entry->length);
        break;
    default:
        if (entry->number > end->acked)
            end->acked = entry->number;
    }
}

bool entry_read(const char *head, uint64_t left, struct entry *entry)
{
    uint32_t kind = little_get_u32(head + 24);

    *entry = (struct entry){.length = little_get_u32(head),
                            .number = little_get_u64(head + 8),
                            .origin = little_get_u64(head + 16),
                            .kind = kind & KIND_BITS,
                            .group = (kind & ~FIRST_BIT) >> GROUP_SHIFT,
                            .is_first = (kind & FIRST_BIT) != 0,
                            .chain = little_get_u32(head + 28)};
    if (entry->kind < ENTRY_MESSAGE || entry->kind > ENTRY_ACK || entry->number == UINT64_MAX)
        return false;
    if (entry->kind != ENTRY_MESSAGE)
        return entry->length == 0;
    return entry->length <= SEGMENT_MOST_MESSAGE && entry->length <= left;
}

bool entry_is_good(const char *at, const struct entry *entry,
                   const unsigned char stream[SEGMENT_STREAM_BYTES])
{
    return entry_crc(stream, at, entry->length) == little_get_u32(at + 4);
}
