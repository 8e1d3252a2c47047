/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/base64.h"
#include "base/crc32c.h"
#include "base/frame.h"
#include "base/scoped.h"
#include "base/utf8.h"
#include "series.h"
#include "store/backup.h"
#include "store/store_inside.h"

/* Of the deepest line: {"series":{"labels":{"path":"/"}}}. */
#define DEPTH 5

#define MOST_AGENT_NAME 255

static void json_put_at(json_object **object)
{
    (void)json_object_put(*object);
}

/* ---- Members of an object: each must be there, and no others ------------------------------- */

struct taking {
    json_object *object;
    int count; /* members that were taken */
    struct rasad_error *error;
};

static bool take(struct taking *taking, const char *name, json_type type, json_object **value)
{
    static const char *const types[] = {
        [json_type_null] = "null",      [json_type_boolean] = "true or false",
        [json_type_int] = "a number",   [json_type_object] = "an object",
        [json_type_array] = "an array", [json_type_string] = "a text",
    };

    if (!json_object_object_get_ex(taking->object, name, value))
        return rasad_fail(taking->error, "\"%s\" is missing", name);
    taking->count++;
    return json_object_is_type(*value, type) ||
           rasad_fail(taking->error, "\"%s\" must be %s", name, types[type]);
}

/* What is not known would be lost. */
static bool take_no_more(const struct taking *taking)
{
    return json_object_object_length(taking->object) == taking->count ||
           rasad_fail(taking->error, "a member is unknown");
}

static bool take_count(struct taking *taking, const char *name, uint64_t least, uint64_t most,
                       uint64_t *count)
{
    json_object *value;

    if (!take(taking, name, json_type_int, &value))
        return false;
    *count = json_object_get_uint64(value); /* 0 for what is below */
    return (json_object_get_int64(value) >= 0 && *count >= least && *count <= most) ||
           rasad_fail(taking->error, "\"%s\" must be from %" PRIu64 " to %" PRIu64, name, least,
                      most);
}

static bool take_u32(struct taking *taking, const char *name, uint32_t least, uint32_t most,
                     uint32_t *number)
{
    uint64_t count;

    if (!take_count(taking, name, least, most, &count))
        return false;
    *number = (uint32_t)count;
    return true;
}

static bool take_ns(struct taking *taking, const char *name, int64_t *ns)
{
    json_object *value;

    if (!take(taking, name, json_type_int, &value))
        return false;
    *ns = json_object_get_int64(value);
    return json_object_get_uint64(value) <= INT64_MAX ||
           rasad_fail(taking->error, "\"%s\" is too large", name);
}

static bool take_bool(struct taking *taking, const char *name, bool *flag)
{
    json_object *value;

    if (!take(taking, name, json_type_boolean, &value))
        return false;
    *flag = json_object_get_boolean(value) != 0;
    return true;
}

static bool take_bytes(struct taking *taking, const char *name, const char **bytes, size_t *length)
{
    json_object *value;

    if (!take(taking, name, json_type_string, &value))
        return false;
    *bytes = json_object_get_string(value);
    *length = (size_t)json_object_get_string_len(value);
    return true;
}

/* A text that C can hold. */
static bool take_text(struct taking *taking, const char *name, const char **text)
{
    size_t length;

    return take_bytes(taking, name, text, &length) &&
           (strlen(*text) == length || rasad_fail(taking->error, "\"%s\" has a NUL in it", name));
}

static bool take_agent(struct taking *taking, const char **agent, size_t *length)
{
    return take_bytes(taking, "agent", agent, length) &&
           ((*length > 0 && *length <= MOST_AGENT_NAME) ||
            rasad_fail(taking->error, "\"agent\" must have 1 to %d bytes", MOST_AGENT_NAME));
}

/* Lower-case hexadecimal digits, as many as the bytes take. */
static bool take_hex(struct taking *taking, const char *name, unsigned char *bytes, size_t size)
{
    static const char digits[] = "0123456789abcdef";
    const char *text;

    if (!take_text(taking, name, &text))
        return false;
    if (strlen(text) != 2 * size || strspn(text, digits) != 2 * size)
        return rasad_fail(taking->error, "\"%s\" must be %zu lower-case hexadecimal digits", name,
                          2 * size);
    for (size_t i = 0; i < size; i++)
        bytes[i] = (unsigned char)((strchr(digits, text[2 * i]) - digits) << 4 |
                                   (strchr(digits, text[2 * i + 1]) - digits));
    return true;
}

/* ---- The kinds of lines -------------------------------------------------------------------- */

static bool take_byte_order(struct taking *taking)
{
    const uint16_t one = 1;
    const char *ours = *(const unsigned char *)&one == 1 ? "little" : "big";
    const char *theirs;

    if (!take_text(taking, "byte_order", &theirs))
        return false;
    return strcmp(ours, theirs) == 0 ||
           rasad_fail(taking->error,
                      "its states are of a machine of another byte order, and can't be used here "
                      "(restore it on a machine like that one)");
}

static bool take_header(struct backup_reader *reader, struct taking *taking)
{
    struct backup_header *header = &reader->header;
    struct rasad_error *error = taking->error;
    json_object *format;
    const char *version;

    if (!json_object_object_get_ex(taking->object, "rasad_backup", &format) ||
        !json_object_is_type(format, json_type_int) || json_object_get_int64(format) < 1)
        return rasad_fail(error, "this is no backup of Rasad's (rasadctl dump makes one)");
    taking->count++;
    if (json_object_get_int64(format) > BACKUP_FORMAT)
        return rasad_fail(error,
                          "it is of format %" PRId64 ", and this version knows format %d (use the "
                          "rasadctl of the version that made it, or a newer one)",
                          json_object_get_int64(format), BACKUP_FORMAT);
    if (!take_text(taking, "version", &version) || !take_byte_order(taking) ||
        !take_ns(taking, "time_ns", &header->time_ns) ||
        !take_count(taking, "commit", 0, UINT64_MAX, &header->commit.number) ||
        !take_ns(taking, "uptime_ns", &header->commit.uptime_ns) || !take_no_more(taking))
        return false;
    (void)snprintf(header->version, sizeof header->version, "%s", version);
    return true;
}

static bool take_kind(struct taking *taking, uint32_t *kind)
{
    const char *name;

    if (!take_text(taking, "kind", &name))
        return false;
    for (*kind = RASAD_GAUGE; *kind <= RASAD_SUMMARY; ++*kind) {
        if (strcmp(name, backup_kind(*kind)) == 0)
            return true;
    }
    return rasad_fail(taking->error, "\"kind\" must be gauge, counter, histogram or summary");
}

static bool take_label_names(struct taking *taking, struct record_layout *layout)
{
    json_object *labels;
    size_t count;

    if (!take(taking, "labels", json_type_array, &labels))
        return false;
    count = json_object_array_length(labels);
    if (count > RECORD_MOST_LABELS)
        return rasad_fail(taking->error, "more than %d labels", RECORD_MOST_LABELS);
    for (size_t i = 0; i < count; i++) {
        json_object *label = json_object_array_get_idx(labels, i);

        if (!json_object_is_type(label, json_type_string) ||
            strlen(json_object_get_string(label)) != (size_t)json_object_get_string_len(label))
            return rasad_fail(taking->error, "the name of a label must be a text without NULs");
        layout->labels[i] = json_object_get_string(label);
    }
    layout->label_count = (uint32_t)count;
    return true;
}

static bool take_layout_members(struct taking *taking, uint32_t *id, struct record_layout *layout)
{
    bool is_glob;

    if (!take_u32(taking, "id", 1, BACKUP_MOST_LAYOUT_ID, id) ||
        !take_text(taking, "title", &layout->title) || !take_bool(taking, "is_glob", &is_glob) ||
        !take_text(taking, "key", &layout->key) || !take_text(taking, "name", &layout->name) ||
        !take_text(taking, "plugin", &layout->plugin) || !take_kind(taking, &layout->kind) ||
        !take_u32(taking, "state_version", 0, UINT32_MAX, &layout->state_version) ||
        !take_u32(taking, "state_size", 1, AGGREGATE_MAX_STATE, &layout->exact_size) ||
        !take_text(taking, "shape", &layout->shape) || !take_label_names(taking, layout) ||
        !take_ns(taking, "aside_ns", &layout->aside_ns))
        return false;
    layout->is_glob = is_glob;
    return take_no_more(taking);
}

static bool take_layout(struct backup_reader *reader, struct taking *taking)
{
    struct record_layout layout = {0};
    uint32_t id;

    if (!take_layout_members(taking, &id, &layout))
        return false;
    if (id <= reader->layouts->last_id)
        return rasad_fail(taking->error, "ids of layouts must rise");
    if (layouts_add(reader->layouts, id, &layout) == NULL)
        return rasad_fail_memory(taking->error);
    reader->layout_count++;
    return reader->taker->layout(reader->context, id, &layout, taking->error);
}

/* Puts the value of each label that the layout has into the room; none at all if all are empty. */
static bool take_labels(struct backup_reader *reader, struct taking *taking,
                        const struct record_layout *layout, struct record_series *series)
{
    json_object *labels, *value;
    int found = 0;

    if (!take(taking, "labels", json_type_object, &labels))
        return false;
    text_clear(&reader->labels);
    if (!text_reserve(&reader->labels, SERIES_MAX_LABEL_BYTES))
        return rasad_fail_memory(taking->error);
    series->labels = (unsigned char *)reader->labels.at;
    if (json_object_object_length(labels) == 0)
        return true;
    for (uint32_t i = 0; i < layout->label_count; i++) {
        bool has = json_object_object_get_ex(labels, layout->labels[i], &value);
        size_t length = has ? (size_t)json_object_get_string_len(value) : 0;

        if (has && (!json_object_is_type(value, json_type_string) || length < 1 ||
                    length > MESSAGE_MAX_LABEL_VALUE))
            return rasad_fail(taking->error, "a label must be a text of 1 to %d bytes",
                              MESSAGE_MAX_LABEL_VALUE);
        found += has;
        (void)series_put_label((unsigned char *)reader->labels.at + reader->labels.length,
                               has ? json_object_get_string(value) : "", length);
        reader->labels.length += SERIES_LABEL_HEAD + length;
    }
    series->labels_size = (uint32_t)reader->labels.length;
    return found == json_object_object_length(labels) ||
           rasad_fail(taking->error, "a label is not one of its layout's");
}

static bool take_state(struct backup_reader *reader, struct taking *taking,
                       const struct record_layout *layout, struct record_series *series)
{
    const char *base64;
    size_t length;

    if (!take_bytes(taking, "state", &base64, &length))
        return false;
    text_clear(&reader->state);
    if (!base64_read(&reader->state, base64, length))
        return rasad_fail(taking->error, "\"state\" must be base64");
    if (reader->state.length != layout->exact_size)
        return rasad_fail(taking->error, "a state of %zu bytes, where its layout has %" PRIu32,
                          reader->state.length, layout->exact_size);
    series->state = reader->state.at;
    series->state_size = layout->exact_size;
    return true;
}

/* Whose it is: null is nobody's. */
static bool take_owner(struct taking *taking, struct record_series *series)
{
    json_object *agent = NULL;
    size_t length = 0;
    bool is_named, is_overflow;

    if (json_object_object_get_ex(taking->object, "agent", &agent) && agent == NULL)
        taking->count++;
    else if (!take_agent(taking, &series->agent, &length))
        return false;
    series->agent_length = (uint32_t)length;
    if (!take_bool(taking, "named", &is_named) || !take_bool(taking, "overflow", &is_overflow))
        return false;
    series->flags = (is_overflow ? RECORD_OVERFLOW : 0) | (length > 0 ? RECORD_AGENT : 0) |
                    (is_named ? RECORD_NAMED : 0);
    return !is_named || length > 0 || rasad_fail(taking->error, "nobody can't be \"named\"");
}

static bool take_series(struct backup_reader *reader, struct taking *taking)
{
    struct record_series series = {0};
    const struct layout *layout;
    uint64_t id;

    if (!take_count(taking, "id", 1, INT64_MAX, &id) ||
        !take_u32(taking, "layout", 1, UINT32_MAX, &series.layout))
        return false;
    if (id <= reader->last_series)
        return rasad_fail(taking->error, "ids of series must rise");
    layout = layouts_find(reader->layouts, series.layout);
    if (layout == NULL)
        return rasad_fail(taking->error, "there is no layout %" PRIu32, series.layout);
    if (!take_owner(taking, &series) || !take_labels(reader, taking, &layout->record, &series) ||
        !take_ns(taking, "created_ns", &series.created_ns) ||
        !take_ns(taking, "updated_ns", &series.updated_ns) ||
        !take_state(reader, taking, &layout->record, &series) || !take_no_more(taking))
        return false;
    reader->last_series = id;
    reader->series_count++;
    return reader->taker->series(reader->context, id, &series, taking->error);
}

/* Whether its key comes behind that of the last one, which it then becomes. */
static bool follows(struct backup_reader *reader, const struct record_stream *stream,
                    struct rasad_error *error)
{
    struct text *last = &reader->last_stream;
    unsigned char room[RECORD_STREAM_KEY];
    struct record_key key = record_stream_key(stream, room);
    int order = memcmp(room, text_end(last), key.size < last->length ? key.size : last->length);

    if (order < 0 || (order == 0 && key.size <= last->length))
        return rasad_fail(error, "streams must rise");
    text_clear(last);
    text_add(last, key.at, key.size);
    return !last->failed || rasad_fail_memory(error);
}

static bool take_stream(struct backup_reader *reader, struct taking *taking)
{
    struct record_stream stream = {0};
    unsigned char chain[4];

    if (!take_agent(taking, &stream.agent, &stream.agent_length) ||
        !take_hex(taking, "stream", stream.id, sizeof stream.id) ||
        !take_count(taking, "applied", 0, UINT64_MAX, &stream.applied) ||
        !take_hex(taking, "chain", chain, sizeof chain) ||
        !take_ns(taking, "last_used_ns", &stream.last_used_ns) ||
        !take_ns(taking, "last_seen_ns", &stream.last_seen_ns) || !take_no_more(taking) ||
        !follows(reader, &stream, taking->error))
        return false;
    stream.chain =
        (uint32_t)chain[0] << 24 | (uint32_t)chain[1] << 16 | (uint32_t)chain[2] << 8 | chain[3];
    reader->stream_count++;
    return reader->taker->stream(reader->context, &stream, taking->error);
}

/* ---- A line -------------------------------------------------------------------------------- */

/* The object that the line is; NULL if it is none. What json-c gets is strict JSON. */
static json_object *parse(struct backup_reader *reader, const char *line, size_t length,
                          struct rasad_error *error)
{
    struct frame frame = frame_make(BACKUP_MOST_LINE);
    json_object *object = NULL;
    size_t at, size;

    if (frame_next(&frame, line, length, &at, &size) != FRAME_OBJECT || at != 0 || size != length ||
        (frame.traits & FRAME_HAS_NUL) != 0) {
        (void)rasad_fail(error, "the line is no JSON object");
        return NULL;
    }
    json_tokener_reset(reader->tokener);
    object = json_tokener_parse_ex(reader->tokener, line, (int)length);
    if (object == NULL)
        (void)rasad_fail(error, "the line is nested too deep, or memory is short");
    return object;
}

/* There is only one way to write it. */
static bool take_end(struct backup_reader *reader, const char *line, size_t length,
                     struct rasad_error *error)
{
    SCOPED(text_free) struct text right = {0};

    backup_add_end(&right, reader->lines, reader->crc);
    if (right.failed)
        return rasad_fail_memory(error);
    if (right.length != length || memcmp(right.at, line, length) != 0)
        return rasad_fail(error,
                          "the number of lines or their checksum is not what this line says: the "
                          "backup was altered or damaged (take another)");
    reader->stage = BACKUP_END;
    return true;
}

/* Takes a line of what a database holds. */
static bool take_record(struct backup_reader *reader, json_object *object,
                        struct rasad_error *error)
{
    static const struct {
        const char *name;
        enum backup_stage stage;
        bool (*take)(struct backup_reader *reader, struct taking *taking);
    } kinds[] = {
        {"layout", BACKUP_LAYOUTS, take_layout},
        {"series", BACKUP_SERIES, take_series},
        {"stream", BACKUP_STREAMS, take_stream},
    };
    struct taking taking = {.error = error};

    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        if (!json_object_object_get_ex(object, kinds[i].name, &taking.object))
            continue;
        if (json_object_object_length(object) != 1 ||
            !json_object_is_type(taking.object, json_type_object))
            return rasad_fail(error, "\"%s\" must be an object, and alone", kinds[i].name);
        if (kinds[i].stage < reader->stage)
            return rasad_fail(error, "\"%s\" comes too late", kinds[i].name);
        reader->stage = kinds[i].stage;
        return kinds[i].take(reader, &taking);
    }
    return rasad_fail(error, "the line is none that this version knows");
}

static bool take_line(struct backup_reader *reader, const char *line, size_t length,
                      struct rasad_error *error)
{
    static const char end[] = "{\"end\":";
    SCOPED(json_put_at) json_object *object = NULL;
    struct taking taking = {.error = error};

    if (reader->stage == BACKUP_END)
        return rasad_fail(error, "something follows the end of the backup (take another)");
    if (length > BACKUP_MOST_LINE)
        return rasad_fail(error, "the line is too long");
    if (reader->stage != BACKUP_BEGIN && length > strlen(end) &&
        memcmp(line, end, strlen(end)) == 0)
        return take_end(reader, line, length, error);
    object = parse(reader, line, length, error);
    if (object == NULL)
        return false;
    if (reader->stage != BACKUP_BEGIN)
        return take_record(reader, object, error);
    taking.object = object;
    if (!take_header(reader, &taking))
        return false;
    reader->stage = BACKUP_HEADER;
    return true;
}

bool backup_reader_open(struct backup_reader *reader, const struct backup_taker *taker,
                        void *context, struct rasad_error *error)
{
    *reader = (struct backup_reader){.taker = taker, .context = context};
    reader->tokener = json_tokener_new_ex(DEPTH);
    reader->layouts = calloc(1, sizeof *reader->layouts);
    if (reader->tokener == NULL || reader->layouts == NULL)
        return rasad_fail_memory(error);
    /* Not strict: parse() is, and json-c 0.18 then takes all beyond ASCII for control characters.
     */
    return true;
}

void backup_reader_close(struct backup_reader *reader)
{
    if (reader->tokener != NULL)
        json_tokener_free(reader->tokener);
    if (reader->layouts != NULL)
        layouts_free(reader->layouts);
    free(reader->layouts);
    text_free(&reader->last_stream);
    text_free(&reader->labels);
    text_free(&reader->state);
}

bool backup_reader_take(struct backup_reader *reader, const char *line, size_t length,
                        struct rasad_error *error)
{
    if (!take_line(reader, line, length - 1, error))
        return false;
    reader->lines++;
    reader->crc = crc32c(reader->crc, line, length);
    return true;
}
