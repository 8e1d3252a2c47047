/* SPDX-License-Identifier: Apache-2.0 */
#include "store/record.h"

#include <string.h>

#include "base/crc32c.h"

#define MAGIC "rasadsta"
#define BYTE_ORDER_MARK UINT32_C(0x01020304)
#define FORMAT_KEY "format"
#define COMMIT_KEY "commit"

/* As they lie in the database, without holes. What varies follows. */
struct format_head {
    uint32_t crc;
    uint32_t format;
    char magic[8];
    uint32_t byte_order;
};

struct commit_head {
    uint32_t crc;
    uint32_t zero;
    uint64_t number;
    int64_t uptime_ns;
};

struct layout_head {
    uint32_t crc;
    uint32_t kind;
    uint32_t state_version;
    uint32_t exact_size;
    uint32_t is_glob;
    uint32_t label_count;
    int64_t aside_ns;
};

struct series_head {
    uint32_t crc;
    uint32_t layout;
    int64_t created_ns;
    int64_t updated_ns;
    uint32_t state_size;
    uint32_t labels_size;
    uint16_t agent_length;
    uint16_t flags;
    uint32_t zero;
};

struct stream_head {
    uint32_t crc;
    uint32_t chain;
    uint64_t applied;
    int64_t last_used_ns;
    int64_t last_seen_ns;
};

static uint32_t sum(struct record_key key, const void *record, size_t size)
{
    uint32_t crc = crc32c(0, key.at, key.size);

    return crc32c(crc, (const char *)record + sizeof crc, size - sizeof crc);
}

static struct record_key text_key(const char *name)
{
    return (struct record_key){name, strlen(name)};
}

/* ---- Writing ------------------------------------------------------------------------------- */

/* The record is all of `out` from `from` on; its sum comes to stand in front. */
static void seal(struct text *out, size_t from, struct record_key key)
{
    uint32_t crc;

    if (out->failed)
        return;
    crc = sum(key, out->at + from, out->length - from);
    memcpy(out->at + from, &crc, sizeof crc);
}

void record_add_format(struct text *out)
{
    struct format_head head = {.format = RECORD_FORMAT, .byte_order = BYTE_ORDER_MARK};
    size_t from = out->length;

    memcpy(head.magic, MAGIC, sizeof head.magic);
    text_add(out, (const char *)&head, sizeof head);
    seal(out, from, text_key(FORMAT_KEY));
}

void record_add_commit(struct text *out, const struct record_commit *commit)
{
    const struct commit_head head = {.number = commit->number, .uptime_ns = commit->uptime_ns};
    size_t from = out->length;

    text_add(out, (const char *)&head, sizeof head);
    seal(out, from, text_key(COMMIT_KEY));
}

void record_add_layout(struct text *out, uint32_t id, const struct record_layout *layout)
{
    const struct layout_head head = {
        .kind = layout->kind,
        .state_version = layout->state_version,
        .exact_size = layout->exact_size,
        .is_glob = layout->is_glob,
        .label_count = layout->label_count,
        .aside_ns = layout->aside_ns,
    };
    const char *const texts[] = {layout->title, layout->key, layout->name, layout->plugin,
                                 layout->shape};
    size_t from = out->length;

    text_add(out, (const char *)&head, sizeof head);
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        text_add(out, texts[i], strlen(texts[i]) + 1);
    for (uint32_t i = 0; i < layout->label_count; i++)
        text_add(out, layout->labels[i], strlen(layout->labels[i]) + 1);
    seal(out, from, (struct record_key){&id, sizeof id});
}

size_t record_series_size(const struct record_series *series)
{
    return sizeof(struct series_head) + series->agent_length + series->labels_size +
           series->state_size;
}

void record_put_series(void *at, uint64_t id, const struct record_series *series)
{
    struct series_head head = {
        .layout = series->layout,
        .created_ns = series->created_ns,
        .updated_ns = series->updated_ns,
        .state_size = series->state_size,
        .labels_size = series->labels_size,
        .agent_length = (uint16_t)series->agent_length,
        .flags = (uint16_t)series->flags,
    };
    unsigned char *to = (unsigned char *)at + sizeof head;

    memcpy(at, &head, sizeof head);
    if (series->agent_length > 0)
        memcpy(to, series->agent, series->agent_length);
    to += series->agent_length;
    if (series->labels_size > 0)
        memcpy(to, series->labels, series->labels_size);
    memcpy(to + series->labels_size, series->state, series->state_size);
    head.crc = sum((struct record_key){&id, sizeof id}, at, record_series_size(series));
    memcpy(at, &head.crc, sizeof head.crc);
}

struct record_key record_stream_key(const struct record_stream *stream,
                                    unsigned char room[RECORD_STREAM_KEY])
{
    memcpy(room, stream->id, sizeof stream->id);
    memcpy(room + sizeof stream->id, stream->agent, stream->agent_length);
    return (struct record_key){room, sizeof stream->id + stream->agent_length};
}

void record_add_stream(struct text *out, const struct record_stream *stream)
{
    const struct stream_head head = {
        .chain = stream->chain,
        .applied = stream->applied,
        .last_used_ns = stream->last_used_ns,
        .last_seen_ns = stream->last_seen_ns,
    };
    unsigned char room[RECORD_STREAM_KEY];
    size_t from = out->length;

    text_add(out, (const char *)&head, sizeof head);
    seal(out, from, record_stream_key(stream, room));
}

/* ---- Reading ------------------------------------------------------------------------------- */

/* Copies the head, if the record is at least that long and its sum is right. */
static bool read_head(struct record_key key, const void *at, size_t size, void *head,
                      size_t head_size, struct rasad_error *error)
{
    uint32_t crc;

    if (size < head_size)
        return rasad_fail(error, "a record is cut off");
    memcpy(&crc, at, sizeof crc);
    if (crc != sum(key, at, size))
        return rasad_fail(error, "a record's checksum is wrong");
    memcpy(head, at, head_size);
    return true;
}

bool record_read_format(const void *at, size_t size, struct rasad_error *error)
{
    struct format_head head;

    /* Of a newer format only this much is known: where its number stands. */
    if (size >= sizeof head) {
        memcpy(&head, at, sizeof head);
        if (memcmp(head.magic, MAGIC, sizeof head.magic) == 0 && head.format > RECORD_FORMAT)
            return rasad_fail(error,
                              "it is of format %u, and this version knows format %d (install the "
                              "newer version again)",
                              head.format, RECORD_FORMAT);
    }
    if (!read_head(text_key(FORMAT_KEY), at, size, &head, sizeof head, error))
        return false;
    if (head.byte_order != BYTE_ORDER_MARK)
        return rasad_fail(error, "it was made on a machine of another byte order");
    return memcmp(head.magic, MAGIC, sizeof head.magic) == 0 ||
           rasad_fail(error, "it is no state of Rasad's");
}

bool record_read_commit(const void *at, size_t size, struct record_commit *commit,
                        struct rasad_error *error)
{
    struct commit_head head;

    if (!read_head(text_key(COMMIT_KEY), at, size, &head, sizeof head, error))
        return false;
    *commit = (struct record_commit){.number = head.number, .uptime_ns = head.uptime_ns};
    return true;
}

/* The next text, which ends before `end`; NULL if it doesn't. */
static const char *read_text(const char **at, const char *end)
{
    const char *text = *at, *nul = memchr(text, '\0', (size_t)(end - text));

    if (nul == NULL)
        return NULL;
    *at = nul + 1;
    return text;
}

bool record_read_layout(struct record_key key, const void *at, size_t size,
                        struct record_layout *layout, struct rasad_error *error)
{
    const char **const texts[] = {&layout->title, &layout->key, &layout->name, &layout->plugin,
                                  &layout->shape};
    const char *from = (const char *)at + sizeof(struct layout_head),
               *end = (const char *)at + size;
    struct layout_head head;
    bool whole = true;

    if (!read_head(key, at, size, &head, sizeof head, error))
        return false;
    if (head.label_count > RECORD_MOST_LABELS)
        return rasad_fail(error, "a layout has %u labels", head.label_count);
    *layout = (struct record_layout){
        .aside_ns = head.aside_ns,
        .kind = head.kind,
        .state_version = head.state_version,
        .exact_size = head.exact_size,
        .is_glob = head.is_glob,
        .label_count = head.label_count,
    };
    for (size_t i = 0; whole && i < sizeof texts / sizeof *texts; i++)
        whole = (*texts[i] = read_text(&from, end)) != NULL;
    for (uint32_t i = 0; whole && i < head.label_count; i++)
        whole = (layout->labels[i] = read_text(&from, end)) != NULL;
    return (whole && from == end) || rasad_fail(error, "a layout is cut off");
}

bool record_read_series(struct record_key key, const void *at, size_t size,
                        struct record_series *series, struct rasad_error *error)
{
    const unsigned char *from = (const unsigned char *)at + sizeof(struct series_head);
    struct series_head head;

    if (key.size != sizeof(uint64_t))
        return rasad_fail(error, "a series has a key of %zu bytes", key.size);
    if (!read_head(key, at, size, &head, sizeof head, error))
        return false;
    if ((uint64_t)head.agent_length + head.labels_size + head.state_size != size - sizeof head)
        return rasad_fail(error, "a series is cut off");
    *series = (struct record_series){
        .layout = head.layout,
        .flags = head.flags,
        .created_ns = head.created_ns,
        .updated_ns = head.updated_ns,
        .agent_length = head.agent_length,
        .labels_size = head.labels_size,
        .state_size = head.state_size,
        .agent = (const char *)from,
        .labels = from + head.agent_length,
        .state = from + head.agent_length + head.labels_size,
    };
    return true;
}

bool record_read_stream(struct record_key key, const void *at, size_t size,
                        struct record_stream *stream, struct rasad_error *error)
{
    struct stream_head head;

    if (key.size <= sizeof stream->id || key.size > RECORD_STREAM_KEY)
        return rasad_fail(error, "a stream has a key of %zu bytes", key.size);
    if (!read_head(key, at, size, &head, sizeof head, error))
        return false;
    *stream = (struct record_stream){
        .agent = (const char *)key.at + sizeof stream->id,
        .agent_length = key.size - sizeof stream->id,
        .applied = head.applied,
        .chain = head.chain,
        .last_used_ns = head.last_used_ns,
        .last_seen_ns = head.last_seen_ns,
    };
    memcpy(stream->id, key.at, sizeof stream->id);
    return true;
}

bool record_layout_equals(const struct record_layout *one, const struct record_layout *other)
{
    if (strcmp(one->title, other->title) != 0 || strcmp(one->key, other->key) != 0 ||
        strcmp(one->name, other->name) != 0 || strcmp(one->plugin, other->plugin) != 0 ||
        strcmp(one->shape, other->shape) != 0 || one->kind != other->kind ||
        one->state_version != other->state_version || one->exact_size != other->exact_size ||
        one->is_glob != other->is_glob || one->label_count != other->label_count)
        return false;
    for (uint32_t i = 0; i < one->label_count; i++) {
        if (strcmp(one->labels[i], other->labels[i]) != 0)
            return false;
    }
    return true;
}
