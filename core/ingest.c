/* SPDX-License-Identifier: Apache-2.0 */
#include "ingest.h"

#include <string.h>

#include "crash.h"

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
    ingest->verdicts = verdict_writer_make();
    series_store_open(&ingest->store);
    ingest->reader = message_reader_new();
    return ingest->reader != NULL;
}

void ingest_close(struct ingest *ingest)
{
    message_reader_free(ingest->reader);
    verdict_writer_free(&ingest->verdicts);
    key_cache_free(&ingest->keys);
    batch_free(ingest->batch);
    series_store_close(&ingest->store);
}

static struct log_field shown(const char *key, const char *text, size_t length)
{
    return log_bytes(key, text != NULL ? text : "", length < MOST_SHOWN ? length : MOST_SHOWN);
}

static const char *name_of(const struct sender *sender)
{
    return sender->agent != NULL ? sender->agent->name : sender->address;
}

static bool is_watched(const struct ingest *ingest, const struct sender *sender)
{
    return sender->report != NULL || (ingest->taps != NULL && taps_are_open(ingest->taps));
}

void ingest_tell(struct ingest *ingest, const struct sender *sender, struct verdict *verdict)
{
    const char *agent_label = ingest->conf->agent_label;

    verdict->agent = name_of(sender);
    verdict->address = sender->address;
    if (ingest->taps != NULL)
        taps_tell(ingest->taps, &ingest->verdicts, verdict, ingest->wall_ns, agent_label);
    if (sender->report != NULL)
        verdict_report(&ingest->verdicts, verdict, ingest->wall_ns, agent_label, sender->report);
}

/* What the sample at hand looks like. */
static void show_sample(const struct ingest *ingest, struct verdict *verdict)
{
    size_t length = 0;
    const char *shown = json_object_to_json_string_length(
        ingest->json, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE, &length);

    verdict->key = ingest->key;
    verdict->sample = shown != NULL ? shown : "";
    verdict->sample_length = shown != NULL ? length : 0;
}

static void tell_taken(struct ingest *ingest, const struct sender *sender, struct series *series)
{
    struct verdict verdict = {.series = series};

    show_sample(ingest, &verdict);
    ingest_tell(ingest, sender, &verdict);
}

static void tell_refused(struct ingest *ingest, const struct sender *sender, const char *key,
                         enum reject reason, const char *what, size_t what_length)
{
    struct verdict verdict = {
        .key = key, .sample = "", .reason = reason, .text = what, .text_length = what_length};

    if (key == NULL)
        verdict = (struct verdict){
            .sample = what, .sample_length = what_length, .reason = reason, .text = ""};
    else if (key == ingest->key)
        show_sample(ingest, &verdict);
    ingest_tell(ingest, sender, &verdict);
}

/* Counts and logs it. */
static void note_refusal(struct ingest *ingest, const struct sender *sender, const char *key,
                         enum reject reason, const char *what, size_t what_length)
{
    const char *agent = name_of(sender);
    uint64_t more;

    counter_add(&ingest->counters.rejected[reason], 1);
    if (sender->agent != NULL)
        counter_add(&sender->agent->refused, 1);
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

void ingest_refuse(struct ingest *ingest, const struct sender *sender, const char *key,
                   enum reject reason, const char *what, size_t what_length)
{
    if (is_watched(ingest, sender))
        tell_refused(ingest, sender, key, reason, what, what_length);
    note_refusal(ingest, sender, key, reason, what, what_length);
}

/* splitmix64's finisher: bits that look random, the same whenever the message is replayed. */
static uint64_t mix(uint64_t x)
{
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9ULL;
    x = (x ^ x >> 27) * 0x94d049bb133111ebULL;
    return x ^ x >> 31;
}

/* Notes that the series has taken a sample. */
static void count_taken(struct ingest *ingest, struct series *series, bool clamped)
{
    struct family_counters *counters = &series->family->counters[ingest->shard];

    series_touch(&ingest->store, series, ingest->steady_ns);
    counter_add(&counters->samples, 1);
    if (clamped)
        counter_add(&ingest->counters.clamped_times, 1);
    if (series->is_overflow)
        counter_add(&counters->overflow_samples, 1);
}

/* Lets the sample at hand wait for others of isolated plugins. */
static bool postpone(struct ingest *ingest, const struct sender *sender, struct series *series,
                     struct rasad_error *error)
{
    struct verdict shown = {.sample = NULL};
    struct batch_origin origin = {.sender = sender, .key = ingest->key};

    if (ingest->batch == NULL && (ingest->batch = batch_new()) == NULL)
        return rasad_fail_memory(error);
    if (ingest->is_watched) {
        show_sample(ingest, &shown);
        origin.sample = shown.sample;
        origin.sample_length = shown.sample_length;
    }
    if (!batch_add(ingest->batch, series, &ingest->sample, &origin))
        return rasad_fail_memory(error);
    if (batch_is_full(ingest->batch))
        ingest_settle(ingest);
    return true;
}

/* Has the plugin take the sample at hand. */
static bool update(struct ingest *ingest, const struct sender *sender, struct series *series,
                   struct rasad_error *error)
{
    struct family *family = series->family;
    bool taken;

    crash_place.agent = name_of(sender);
    crash_place.number = sender->number;
    crash_place.labels = series_labels(series);
    crash_place.labels_size = series->labels_size;
    crash_enter(family->api->name, family->name);
    taken = family->api->update(family->config, series_state(series), &ingest->sample.value, error);
    crash_leave();
    if (!taken)
        return false;
    count_taken(ingest, series, ingest->sample.clamped);
    if (ingest->is_watched)
        tell_taken(ingest, sender, series);
    return true;
}

static bool apply_sample(struct ingest *ingest, const struct sender *sender, struct family *family,
                         json_object *json, enum reject *reason, struct rasad_error *error)
{
    struct sample *sample = &ingest->sample;
    struct agent *agent = ingest->conf->agent_label[0] != '\0' ? sender->agent : NULL;
    struct series *series;

    if (!message_read_sample(json, ingest->wall_ns, sample, reason, error))
        return false;
    series = series_get(&ingest->store, family, agent, sample, ingest->wall_ns, reason, error);
    if (series == NULL)
        return false;
    *reason = REJECT_BAD_VALUE;
    sample->value.seed = mix(sender->number << 16 ^ ingest->sample_index++);
    if (family->aggregate->isolate != NULL ? postpone(ingest, sender, series, error)
                                           : update(ingest, sender, series, error))
        return true;
    series_discard_if_new(&ingest->store, series);
    return false;
}

static void take_sample(struct ingest *ingest, const struct sender *sender, const char *key,
                        struct family *family, json_object *json)
{
    struct rasad_error error;
    enum reject reason;

    error.text[0] = '\0';
    ingest->json = json;
    if (apply_sample(ingest, sender, family, json, &reason, &error))
        return;
    counter_add(&family->counters[ingest->shard].refused, 1);
    ingest_refuse(ingest, sender, key, reason, error.text, strlen(error.text));
}

/* ---- What was postponed -------------------------------------------------------------------- */

/* Tells those who watch what became of it. */
static void tell_late(struct ingest *ingest, const struct batch_item *item, enum reject reason)
{
    bool taken = item->verdict == ISOLATE_TAKEN;
    struct verdict verdict = {
        .key = batch_text(ingest->batch, item->key_at),
        .sample = batch_text(ingest->batch, item->sample_at),
        .sample_length = item->sample_length,
        .series = taken ? item->series : NULL,
        .reason = reason,
        .text = taken ? "" : item->reason,
        .text_length = taken ? 0 : strlen(item->reason),
    };

    if (item->watched)
        ingest_tell(ingest, &item->sender, &verdict);
}

/* A series that only refused samples were for goes, and only once. */
static void discard(struct ingest *ingest, size_t i)
{
    struct batch *batch = ingest->batch;
    struct series *series = batch->items[i].series;

    if (series == NULL || (series->flags & SERIES_USED) != 0)
        return;
    for (size_t k = i; k < batch->count; k++) {
        if (batch->items[k].series == series)
            batch->items[k].series = NULL;
    }
    series_discard_if_new(&ingest->store, series);
}

static void settle_item(struct ingest *ingest, struct family *family, size_t i)
{
    const struct batch_item *item = &ingest->batch->items[i];
    enum reject reason = item->verdict == ISOLATE_CRASHED ? REJECT_PLUGIN_CRASH : REJECT_BAD_VALUE;

    tell_late(ingest, item, reason);
    if (item->verdict == ISOLATE_TAKEN)
        return;
    counter_add(&family->counters[ingest->shard].refused, 1);
    note_refusal(ingest, &item->sender, batch_text(ingest->batch, item->key_at), reason,
                 item->reason, strlen(item->reason));
    discard(ingest, i);
}

void ingest_settle(struct ingest *ingest)
{
    struct batch *batch = ingest->batch;
    struct family *families[ISOLATE_BATCH];

    if (batch == NULL || batch->count == 0)
        return;
    batch_run(batch, (uint32_t)ingest->shard);
    for (size_t i = 0; i < batch->count; i++) {
        families[i] = batch->items[i].series->family;
        if (batch->items[i].verdict == ISOLATE_TAKEN)
            count_taken(ingest, batch->items[i].series, batch->items[i].clamped);
    }
    for (size_t i = 0; i < batch->count; i++)
        settle_item(ingest, families[i], i);
    batch_clear(batch);
}

/* ---- Members ------------------------------------------------------------------------------- */

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
    struct family *family;
    size_t count;

    ingest->key = key;
    ingest->json = json;
    family = find_family(ingest, sender, key, traits);
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
                 log_text("agent", name_of(sender)));
    ingest->sample_index = 0;
    ingest->is_watched = is_watched(ingest, sender);
    if (message == NULL) {
        ingest_refuse(ingest, sender, NULL, REJECT_BAD_JSON, no_memory, strlen(no_memory));
        return;
    }
    for (struct json_object_iterator it = json_object_iter_begin(message),
                                     end = json_object_iter_end(message);
         !json_object_iter_equal(&it, &end); json_object_iter_next(&it))
        take_member(ingest, sender, json_object_iter_peek_name(&it),
                    json_object_iter_peek_value(&it), traits);
    ingest->key = NULL;
}
