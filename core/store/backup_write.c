/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <string.h>

#include "base/base64.h"
#include "base/utf8.h"
#include "series.h"
#include "store/backup.h"

const char *backup_kind(uint32_t kind)
{
    static const char *const kinds[] = {
        [RASAD_GAUGE] = "gauge",
        [RASAD_COUNTER] = "counter",
        [RASAD_HISTOGRAM] = "histogram",
        [RASAD_SUMMARY] = "summary",
    };

    return kind < sizeof kinds / sizeof *kinds ? kinds[kind] : NULL;
}

/* ---- Members: `head` is `,"name":` or how the line begins ---------------------------------- */

static void add_number(struct text *out, const char *head, int64_t number)
{
    text_add_string(out, head);
    if (number < 0)
        text_add_char(out, '-');
    text_add_u64(out, number < 0 ? 0 - (uint64_t)number : (uint64_t)number);
}

static void add_count(struct text *out, const char *head, uint64_t number)
{
    text_add_string(out, head);
    text_add_u64(out, number);
}

static void add_bool(struct text *out, const char *head, bool value)
{
    text_add_string(out, head);
    text_add_string(out, value ? "true" : "false");
}

static void add_string(struct text *out, const char *head, const char *string)
{
    text_add_string(out, head);
    text_add_json(out, string, strlen(string));
}

/* ---- Lines --------------------------------------------------------------------------------- */

void backup_add_header(struct text *out, const struct backup_header *header)
{
    const uint16_t one = 1;
    bool is_little = *(const unsigned char *)&one == 1;

    add_count(out, "{\"rasad_backup\":", BACKUP_FORMAT);
    add_string(out, ",\"version\":", header->version);
    add_string(out, ",\"byte_order\":", is_little ? "little" : "big");
    add_number(out, ",\"time_ns\":", header->time_ns);
    add_count(out, ",\"commit\":", header->commit.number);
    add_number(out, ",\"uptime_ns\":", header->commit.uptime_ns);
    text_add_char(out, '}');
}

/* Whether JSON can hold the layout's texts. */
static bool check_texts(uint32_t id, const struct record_layout *layout, struct rasad_error *error)
{
    const char *const texts[] = {layout->title, layout->key, layout->name, layout->plugin,
                                 layout->shape};
    bool fine = true;

    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        fine = fine && utf8_valid(texts[i], strlen(texts[i]));
    for (uint32_t i = 0; i < layout->label_count; i++)
        fine = fine && utf8_valid(layout->labels[i], strlen(layout->labels[i]));
    if (!fine)
        return rasad_fail(error, "a text of layout %" PRIu32 " is no UTF-8", id);
    return backup_kind(layout->kind) != NULL ||
           rasad_fail(error, "layout %" PRIu32 " is of an unknown kind", id);
}

bool backup_add_layout(struct text *out, uint32_t id, const struct record_layout *layout,
                       struct rasad_error *error)
{
    if (!check_texts(id, layout, error))
        return false;
    add_count(out, "{\"layout\":{\"id\":", id);
    add_string(out, ",\"title\":", layout->title);
    add_bool(out, ",\"is_glob\":", layout->is_glob != 0);
    add_string(out, ",\"key\":", layout->key);
    add_string(out, ",\"name\":", layout->name);
    add_string(out, ",\"plugin\":", layout->plugin);
    add_string(out, ",\"kind\":", backup_kind(layout->kind));
    add_count(out, ",\"state_version\":", layout->state_version);
    add_count(out, ",\"state_size\":", layout->exact_size);
    add_string(out, ",\"shape\":", layout->shape);
    text_add_string(out, ",\"labels\":[");
    for (uint32_t i = 0; i < layout->label_count; i++)
        add_string(out, i > 0 ? "," : "", layout->labels[i]);
    add_number(out, "],\"aside_ns\":", layout->aside_ns);
    text_add_string(out, "}}");
    return true;
}

/* The labels that have a value, as members of an object; false for bytes that are none. */
static bool add_labels(struct text *out, const struct record_series *series,
                       const struct record_layout *layout)
{
    const unsigned char *at = series->labels, *end = at + series->labels_size;
    bool any = false;

    for (uint32_t i = 0; i < layout->label_count && at < end; i++) {
        size_t length;

        if (end - at < SERIES_LABEL_HEAD)
            return false;
        length = at[0] | (size_t)at[1] << 8;
        at += SERIES_LABEL_HEAD;
        if ((size_t)(end - at) < length || !utf8_valid((const char *)at, length))
            return false;
        if (length > 0) {
            add_string(out, any ? "," : "", layout->labels[i]);
            text_add_char(out, ':');
            text_add_json(out, (const char *)at, length);
            any = true;
        }
        at += length;
    }
    return at == end;
}

bool backup_add_series(struct text *out, uint64_t id, const struct record_series *series,
                       const struct record_layout *layout, struct rasad_error *error)
{
    add_count(out, "{\"series\":{\"id\":", id);
    add_count(out, ",\"layout\":", series->layout);
    text_add_string(out, ",\"agent\":");
    if ((series->flags & RECORD_AGENT) == 0)
        text_add_string(out, "null");
    else if (utf8_valid(series->agent, series->agent_length))
        text_add_json(out, series->agent, series->agent_length);
    else
        return rasad_fail(error, "the agent of series %" PRIu64 " is no UTF-8", id);
    add_bool(out, ",\"named\":", (series->flags & RECORD_NAMED) != 0);
    text_add_string(out, ",\"labels\":{");
    if (!add_labels(out, series, layout))
        return rasad_fail(error, "the labels of series %" PRIu64 " are none", id);
    add_bool(out, "},\"overflow\":", (series->flags & RECORD_OVERFLOW) != 0);
    add_number(out, ",\"created_ns\":", series->created_ns);
    add_number(out, ",\"updated_ns\":", series->updated_ns);
    text_add_string(out, ",\"state\":\"");
    base64_add(out, series->state, series->state_size);
    text_add_string(out, "\"}}");
    return true;
}

void backup_add_stream(struct text *out, const struct record_stream *stream)
{
    text_add_string(out, "{\"stream\":{\"agent\":");
    text_add_json(out, stream->agent, stream->agent_length);
    text_add_string(out, ",\"stream\":\"");
    for (size_t i = 0; i < sizeof stream->id; i++)
        text_printf(out, "%02x", stream->id[i]);
    add_count(out, "\",\"applied\":", stream->applied);
    text_printf(out, ",\"chain\":\"%08" PRIx32 "\"", stream->chain);
    add_number(out, ",\"last_used_ns\":", stream->last_used_ns);
    add_number(out, ",\"last_seen_ns\":", stream->last_seen_ns);
    text_add_string(out, "}}");
}

void backup_add_end(struct text *out, uint64_t lines, uint32_t crc)
{
    add_count(out, "{\"end\":{\"lines\":", lines);
    text_printf(out, ",\"crc32c\":\"%08" PRIx32 "\"}}", crc);
}
