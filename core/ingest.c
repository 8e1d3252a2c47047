/* SPDX-License-Identifier: Apache-2.0 */
#include "ingest.h"

#include <string.h>

/* Refusals in the log: so many a second, and so many at once. */
#define REFUSALS_PER_SECOND 2
#define REFUSALS_AT_ONCE 50

/* Of what was refused, so many bytes are shown. */
#define MOST_SHOWN 200

bool ingest_open(struct ingest *ingest, const struct conf *conf, const struct log *log,
                 struct families *families, int shard, bool verbose)
{
    memset(ingest, 0, sizeof *ingest);
    ingest->conf = conf;
    ingest->log = log;
    ingest->families = families;
    ingest->shard = shard;
    ingest->verbose = verbose;
    ingest->refusals = gate_make(REFUSALS_PER_SECOND, REFUSALS_AT_ONCE);
    series_store_open(&ingest->store);
    ingest->reader = message_reader_new();
    return ingest->reader != NULL;
}

void ingest_close(struct ingest *ingest)
{
    message_reader_free(ingest->reader);
    key_cache_free(&ingest->keys);
    series_store_close(&ingest->store);
}

static struct log_field shown(const char *key, const char *text, size_t length)
{
    return log_bytes(key, text != NULL ? text : "", length < MOST_SHOWN ? length : MOST_SHOWN);
}

void ingest_refuse(struct ingest *ingest, const struct sender *sender, const char *key,
                   enum reject reason, const char *what, size_t what_length)
{
    const char *agent = sender->agent != NULL ? sender->agent->name : sender->address;
    uint64_t more;

    counter_add(&ingest->counters.rejected[reason], 1);
    if (!gate_pass(&ingest->refusals, ingest->steady_ns, &more))
        return;
    if (key != NULL)
        log_warning(ingest->log, "sample refused", log_text("reason", reject_word(reason)),
                    log_text("agent", agent), log_text("address", sender->address),
                    shown("key", key, strlen(key)), shown("text", what, what_length),
                    log_number("more_like_this", (int64_t)more));
    else
        log_warning(ingest->log, "message refused", log_text("reason", reject_word(reason)),
                    log_text("agent", agent), log_text("address", sender->address),
                    shown("text", what, what_length), log_number("more_like_this", (int64_t)more));
}

/* splitmix64's finisher: bits that look random, the same whenever the message is replayed. */
static uint64_t mix(uint64_t x)
{
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9ULL;
    x = (x ^ x >> 27) * 0x94d049bb133111ebULL;
    return x ^ x >> 31;
}

static bool apply_sample(struct ingest *ingest, const struct sender *sender, struct family *family,
                         json_object *json, enum reject *reason, struct rasad_error *error)
{
    struct sample *sample = &ingest->sample;
    struct family_counters *counters = &family->counters[ingest->shard];
    struct agent *agent = ingest->conf->agent_label[0] != '\0' ? sender->agent : NULL;
    struct series *series;

    if (!message_read_sample(json, ingest->wall_ns, sample, reason, error))
        return false;
    series = series_get(&ingest->store, family, agent, sample, ingest->wall_ns, reason, error);
    if (series == NULL)
        return false;
    *reason = REJECT_BAD_VALUE;
    sample->value.seed = mix(sender->number << 16 ^ ingest->sample_index++);
    if (!family->api->update(family->config, series_state(series), &sample->value, error)) {
        series_discard_if_new(&ingest->store, series);
        return false;
    }
    series_touch(&ingest->store, series, ingest->steady_ns);
    counter_add(&counters->samples, 1);
    if (sample->clamped)
        counter_add(&ingest->counters.clamped_times, 1);
    if (series->is_overflow)
        counter_add(&counters->overflow_samples, 1);
    return true;
}

static void take_sample(struct ingest *ingest, const struct sender *sender, const char *key,
                        struct family *family, json_object *json)
{
    struct rasad_error error;
    enum reject reason;

    error.text[0] = '\0';
    if (!apply_sample(ingest, sender, family, json, &reason, &error))
        ingest_refuse(ingest, sender, key, reason, error.text, strlen(error.text));
}

/* The family that takes the key; NULL after a refusal. */
static struct family *find_family(struct ingest *ingest, const struct sender *sender,
                                  const char *key, uint32_t traits)
{
    struct rasad_error error;
    enum reject reason = REJECT_UNKNOWN_KEY;
    size_t length = strlen(key);
    struct family *family = NULL;

    error.text[0] = '\0'; /* and no more of it: every member comes by here */
    if (message_name_has_nul(key, traits)) {
        (void)rasad_fail(&error, "no metric takes a key with a NUL in it");
    } else if (length > MESSAGE_MAX_KEY) {
        reason = REJECT_TOO_LONG;
        (void)rasad_fail(&error, "the key is longer than %d bytes", MESSAGE_MAX_KEY);
    } else {
        family = key_cache_find(&ingest->keys, ingest->families, key, length, &reason, &error);
    }
    if (family == NULL)
        ingest_refuse(ingest, sender, key, reason, error.text, strlen(error.text));
    return family;
}

static void take_member(struct ingest *ingest, const struct sender *sender, const char *key,
                        json_object *json, uint32_t traits)
{
    struct family *family = find_family(ingest, sender, key, traits);
    size_t count;

    if (family == NULL)
        return;
    if (!json_object_is_type(json, json_type_array)) {
        take_sample(ingest, sender, key, family, json);
        return;
    }
    count = json_object_array_length(json);
    for (size_t i = 0; i < count; i++)
        take_sample(ingest, sender, key, family, json_object_array_get_idx(json, i));
}

void ingest_object(struct ingest *ingest, const struct sender *sender, const char *bytes,
                   size_t length, uint32_t traits)
{
    static const char no_memory[] = "out of memory";
    json_object *message = message_read(ingest->reader, bytes, length, traits);

    if (ingest->verbose)
        log_info(ingest->log, "message", log_bytes("text", bytes, length),
                 log_text("agent", sender->agent != NULL ? sender->agent->name : sender->address));
    ingest->sample_index = 0;
    if (message == NULL) {
        ingest_refuse(ingest, sender, NULL, REJECT_BAD_JSON, no_memory, strlen(no_memory));
        return;
    }
    for (struct json_object_iterator it = json_object_iter_begin(message),
                                     end = json_object_iter_end(message);
         !json_object_iter_equal(&it, &end); json_object_iter_next(&it))
        take_member(ingest, sender, json_object_iter_peek_name(&it),
                    json_object_iter_peek_value(&it), traits);
}
