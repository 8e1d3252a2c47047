/* SPDX-License-Identifier: Apache-2.0 */
#include "store/loading.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/planted.h"
#include "base/scoped.h"
#include "connection.h"
#include "crash.h"
#include "hash.h"
#include "series.h"

/* Series between two words of progress. */
#define PROGRESS_SERIES 4096

/* A stream that was in use when the server ended is not forgotten before its sender can be back. */
#define TIME_TO_RETURN_NS (3600 * NS_PER_S)

/* Where the series of a layout go. */
struct route {
    struct family *family; /* NULL: they stay aside */
    const struct record_layout *layout;
    bool migrates;
    bool relabels;
    bool has_refused; /* some of them */
};

struct bringing {
    const struct loading *loading;
    struct loaded *loaded;
    bool only_aside;
    struct route *routes; /* by layout id */
    size_t route_count;
    uint64_t seen;          /* series */
    unsigned char *labels;  /* room for a series' labels under the present conf */
    void *state;            /* room for a state */
    void *from;             /* and for one that is to be migrated */
    struct rasad_error why; /* why the first series was refused */
};

static void bringing_free(struct bringing *bringing)
{
    free(bringing->routes);
    free(bringing->labels);
    free(bringing->state);
    free(bringing->from);
}

/* ---- Where a layout's series go ------------------------------------------------------------ */

/* The section that goes on in this glob's, which has a name. */
static const struct conf_metric *find_glob(const struct conf *conf, const char *title)
{
    for (size_t i = 0; i < conf->metric_count; i++) {
        const struct conf_metric *metric = &conf->metrics[i];

        if (metric->is_glob && metric->name != NULL && strcmp(metric->key, title) == 0)
            return metric;
    }
    return NULL;
}

static struct family *find_family(const struct loading *loading, const struct record_layout *layout)
{
    struct families *families = loading->families;
    const char *key = layout->key[0] != '\0' ? layout->key : layout->title;
    size_t length = strlen(key);
    struct rasad_error error;
    enum reject reason;
    struct family *family;

    if (layout->is_glob && layout->key[0] == '\0') {
        const struct conf_metric *metric = find_glob(loading->conf, layout->title);

        return metric != NULL ? families_find_section(families, metric, &error) : NULL;
    }
    family = families_find_plain(families, key, length, hash_bytes(key, length));
    if (family != NULL)
        return family;
    family = layout->is_glob ? NULL : families_find_name(families, layout->name);
    if (family != NULL && !family->metric->is_glob)
        return family;
    return families_find_glob(families, key, length, &reason, &error);
}

/* Whether the plugin can go on with such states; if so, how. */
static bool fits(const struct record_layout *layout, const struct family *family, bool *migrates)
{
    const struct aggregate *aggregate = family->aggregate;
    const struct rasad_plugin *api = family->api;

    *migrates =
        layout->state_version != api->state_version || layout->exact_size != aggregate->exact_size;
    return strcmp(layout->plugin, api->name) == 0 && layout->kind == api->kind &&
           strcmp(layout->shape, aggregate->shape != NULL ? aggregate->shape : "") == 0 &&
           (!*migrates || aggregate->plugin->migrates);
}

static bool has_same_labels(const struct record_layout *layout, const struct conf_metric *metric)
{
    if (layout->label_count != metric->label_count)
        return false;
    for (uint32_t i = 0; i < layout->label_count; i++) {
        if (strcmp(layout->labels[i], metric->labels[i]) != 0)
            return false;
    }
    return true;
}

static bool add_route(void *context, uint32_t id, const struct record_layout *layout)
{
    struct bringing *bringing = context;
    struct route *route, *grown;
    struct family *family;

    if (id >= bringing->route_count) {
        grown = reallocarray(bringing->routes, id + 1, sizeof *grown);
        if (grown == NULL)
            return false;
        memset(grown + bringing->route_count, 0, (id + 1 - bringing->route_count) * sizeof *grown);
        bringing->routes = grown;
        bringing->route_count = id + 1;
    }
    if (bringing->only_aside && layout->aside_ns == 0)
        return true;
    route = &bringing->routes[id];
    family = find_family(bringing->loading, layout);
    if (family == NULL || !fits(layout, family, &route->migrates))
        return true;
    route->family = family;
    route->layout = layout;
    route->relabels = !has_same_labels(layout, family->metric);
    return true;
}

/* ---- One series ---------------------------------------------------------------------------- */

/* The value of a label among those of a record; NULL if the bytes are not what they should be. */
static const unsigned char *find_value(const struct route *route,
                                       const struct record_series *record, const char *label,
                                       size_t *length)
{
    static const unsigned char none[1] = "";
    const unsigned char *at = record->labels, *end = at + record->labels_size;

    for (uint32_t i = 0; i < route->layout->label_count && at < end; i++) {
        if (end - at < SERIES_LABEL_HEAD)
            return NULL;
        *length = at[0] | (size_t)at[1] << 8;
        at += SERIES_LABEL_HEAD;
        if ((size_t)(end - at) < *length)
            return NULL;
        if (strcmp(route->layout->labels[i], label) == 0)
            return at;
        at += *length;
    }
    *length = 0;
    return none;
}

/* The series' labels as its family has them now, in the room; false for bytes that are none. */
static bool relabel(struct bringing *bringing, const struct route *route,
                    const struct record_series *record, uint32_t *size)
{
    const struct conf_metric *metric = route->family->metric;
    unsigned char *at = bringing->labels;
    bool any = false;

    for (size_t i = 0; i < metric->label_count; i++) {
        size_t length;
        const unsigned char *value = find_value(route, record, metric->labels[i], &length);

        if (value == NULL || length > MESSAGE_MAX_LABEL_VALUE)
            return false;
        any |= length > 0;
        at = series_put_label(at, (const char *)value, length);
    }
    *size = any ? (uint32_t)(at - bringing->labels) : 0;
    return true;
}

/* The plugin is about to see bytes from the disk. */
static void enter_plugin(const struct family *family)
{
    if (family->aggregate->isolate == NULL)
        crash_enter(family->api->name, family->name);
}

/* The record's state as the plugin has it now, in the room. */
static bool read_state(struct bringing *bringing, const struct route *route,
                       const struct record_series *record, struct rasad_error *error)
{
    const struct aggregate *aggregate = route->family->aggregate;
    const struct rasad_plugin *api = route->family->api;
    bool fine;

    if (record->state_size != route->layout->exact_size || record->state_size > AGGREGATE_MAX_STATE)
        return rasad_fail(error, "a state of %u bytes, not %u", record->state_size,
                          route->layout->exact_size);
    memset(bringing->state, 0, aggregate->state_size);
    if (!route->migrates) {
        memcpy(bringing->state, record->state, record->state_size);
    } else {
        /* Aligned, which the database's is not. */
        memcpy(bringing->from, record->state, record->state_size);
        enter_plugin(route->family);
        fine = aggregate_migrate(aggregate, route->layout->state_version, bringing->from,
                                 record->state_size, bringing->state, error);
        crash_leave();
        if (!fine)
            return false;
    }
    if (api->verify == NULL || aggregate->isolate != NULL)
        return true;
    enter_plugin(route->family);
    fine = api->verify(route->family->config, bringing->state, aggregate->exact_size);
    crash_leave();
    return fine || rasad_fail(error, "plugin \"%s\" does not take it for a state", api->name);
}

/* Whose it is, in the shard that it then belongs to; false without memory. */
static bool find_agent(const struct bringing *bringing, const struct record_series *record,
                       struct agent **agent, struct shard **shard)
{
    const struct loading *loading = bringing->loading;

    *agent = NULL;
    *shard = &loading->shards[0];
    if ((record->flags & RECORD_AGENT) == 0 || loading->conf->agent_label[0] == '\0')
        return true;
    *shard =
        &loading
             ->shards[connection_shard(record->agent, record->agent_length, loading->shard_count)];
    *agent = agents_get(&(*shard)->agents, record->agent, record->agent_length);
    if (*agent == NULL)
        return false;
    if ((record->flags & RECORD_NAMED) != 0)
        atomic_store_explicit(&(*agent)->named, true, memory_order_relaxed);
    if ((*agent)->connections == 0 && atomic_load(&(*agent)->gone_since_ns) == 0)
        atomic_store(&(*agent)->gone_since_ns, loading->steady_ns);
    return true;
}

/* The series stays on disk, and is told of. */
static void refuse(struct bringing *bringing, struct route *route, const struct rasad_error *why)
{
    bringing->loaded->refused++;
    route->has_refused = true;
    if (bringing->why.text[0] == '\0')
        (void)rasad_fail(&bringing->why, "metric \"%s\": %s", route->family->name, why->text);
}

/* Joins the state in the room, which lies on disk under this id, with what the series has. */
static bool join(struct bringing *bringing, struct route *route, struct series_store *store,
                 struct series *series, const struct series *like, struct rasad_error *error)
{
    struct rasad_error why = {""};
    bool fine;

    if (!series_erase(store, like->id))
        return rasad_fail_memory(error);
    enter_plugin(series->family);
    fine = aggregate_merge(series->family->aggregate, series_state(series), bringing->state, &why);
    crash_leave();
    if (!fine) {
        series_erase_not(store, like->id);
        refuse(bringing, route, &why);
        return true;
    }
    if (like->created_ns < series->created_ns)
        series->created_ns = like->created_ns;
    if (like->updated_ns > series->updated_ns)
        series->updated_ns = like->updated_ns;
    memcpy(series_published(series), series_state(series), series->family->state_size);
    series_mark(store, series);
    bringing->loaded->series++;
    return true;
}

/* Brings in the state in the room. */
static bool put(struct bringing *bringing, struct route *route, uint64_t id,
                const struct record_series *record, const void *labels, uint32_t labels_size,
                struct rasad_error *error)
{
    struct series like = {
        .family = route->family,
        .flags = SERIES_USED,
        .is_overflow = (record->flags & RECORD_OVERFLOW) != 0,
        .id = id,
        .created_ns = record->created_ns,
        .updated_ns = store_steady(bringing->loading->store, record->updated_ns),
    };
    struct series *series;
    struct shard *shard;
    bool is_new;

    if (!find_agent(bringing, record, &like.agent, &shard))
        return rasad_fail_memory(error);
    series = series_restore(&shard->ingest.store, &like, labels, labels_size, &is_new);
    if (series == NULL)
        return rasad_fail_memory(error);
    if (!is_new)
        return join(bringing, route, &shard->ingest.store, series, &like, error);
    memcpy(series_state(series), bringing->state, route->family->state_size);
    memcpy(series_published(series), series_state(series), route->family->state_size);
    view_add(bringing->loading->view, series);
    if (route->migrates || route->relabels || record->layout != route->family->layout ||
        (like.agent == NULL && (record->flags & RECORD_AGENT) != 0))
        series_mark(&shard->ingest.store, series);
    bringing->loaded->series++;
    return true;
}

static bool bring_series(void *context, uint64_t id, const struct record_series *record,
                         struct rasad_error *error)
{
    struct bringing *bringing = context;
    struct route *route =
        record->layout < bringing->route_count ? &bringing->routes[record->layout] : NULL;
    const void *labels = record->labels;
    uint32_t labels_size = record->labels_size;
    struct rasad_error why = {""};

    if (bringing->seen++ % PROGRESS_SERIES == 0 && bringing->loading->progress.tell != NULL)
        bringing->loading->progress.tell(bringing->loading->progress.context);
    if (route == NULL || route->family == NULL) {
        bringing->loaded->aside++;
        return true;
    }
    if (route->relabels && (record->flags & RECORD_OVERFLOW) == 0) {
        if (!relabel(bringing, route, record, &labels_size))
            (void)rasad_fail(&why, "its labels are none");
        labels = bringing->labels;
    }
    if (why.text[0] != '\0' || !read_state(bringing, route, record, &why)) {
        refuse(bringing, route, &why);
        return true;
    }
    return put(bringing, route, id, record, labels, labels_size, error);
}

/* ---- Streams ------------------------------------------------------------------------------- */

static bool bring_stream(void *context, const struct record_stream *record,
                         struct rasad_error *error)
{
    struct bringing *bringing = context;
    const struct loading *loading = bringing->loading;
    struct agents *agents =
        &loading
             ->shards[connection_shard(record->agent, record->agent_length, loading->shard_count)]
             .agents;
    int64_t used_ns = record->last_used_ns == RECORD_IN_USE
                          ? loading->steady_ns
                          : store_steady(loading->store, record->last_used_ns);
    int64_t least_ns = loading->steady_ns - loading->conf->agent_ttl_ns + TIME_TO_RETURN_NS;
    struct agent *agent = agents_get(agents, record->agent, record->agent_length);
    struct stream *stream = agent != NULL ? agents_get_stream(agents, agent, record->id) : NULL;
    int64_t gone_ns;

    if (stream == NULL)
        return rasad_fail_memory(error);
    if (!planted_bug("applied-not-restored")) {
        stream->applied = record->applied;
        stream->committed = record->applied;
        stream->chain = record->chain;
    }
    stream->last_used_ns = used_ns > least_ns ? used_ns : least_ns;
    atomic_store(&agent->named, true);
    gone_ns = atomic_load(&agent->gone_since_ns);
    if (gone_ns == 0 || used_ns > gone_ns)
        atomic_store(&agent->gone_since_ns, used_ns != 0 ? used_ns : 1);
    if (record->last_seen_ns > atomic_load(&agent->last_seen_ns))
        atomic_store(&agent->last_seen_ns, record->last_seen_ns);
    bringing->loaded->streams++;
    return true;
}

/* ---- The whole ----------------------------------------------------------------------------- */

static bool prepare(struct bringing *bringing, struct rasad_error *error)
{
    const struct loading *loading = bringing->loading;

    bringing->labels = malloc(SERIES_MAX_LABEL_BYTES);
    bringing->state = malloc(AGGREGATE_MAX_STATE);
    bringing->from = malloc(AGGREGATE_MAX_STATE);
    return (bringing->labels != NULL && bringing->state != NULL && bringing->from != NULL &&
            store_each_layout(loading->store, add_route, bringing) &&
            store_sort_layouts(loading->store, loading->families, loading->steady_ns)) ||
           rasad_fail_memory(error);
}

/* Without memory the tables grow as they must. */
static void make_room(const struct loading *loading)
{
    size_t each = store_series_count(loading->store) / (size_t)loading->shard_count;

    for (int i = 0; i < loading->shard_count; i++)
        (void)table_reserve(&loading->shards[i].ingest.store.table, each);
}

/* Brings in the series that have a route; those under a layout of before come to the disk under
 * another with the next commit. */
static bool bring_all(struct bringing *bringing, struct rasad_error *error)
{
    struct store *store = bringing->loading->store;

    if (!store_each_series(store, bring_series, bringing, error))
        return false;
    for (size_t id = 0; id < bringing->route_count; id++) {
        if (bringing->routes[id].family != NULL && !bringing->routes[id].has_refused)
            store_note_empty(store, (uint32_t)id);
    }
    if (bringing->loaded->refused > 0)
        log_warning(bringing->loading->log,
                    "states on disk could not be brought in, and stay there",
                    log_number("series", (int64_t)bringing->loaded->refused),
                    log_text("reason", bringing->why.text));
    return true;
}

bool loading_run(const struct loading *loading, struct loaded *loaded, struct rasad_error *error)
{
    SCOPED(bringing_free)
    struct bringing bringing = {.loading = loading, .loaded = loaded};

    *loaded = (struct loaded){0};
    make_room(loading);
    return store_each_stream(loading->store, bring_stream, &bringing, error) &&
           prepare(&bringing, error) && bring_all(&bringing, error);
}

bool loading_return(const struct loading *loading, struct loaded *loaded, struct rasad_error *error)
{
    SCOPED(bringing_free)
    struct bringing bringing = {.loading = loading, .loaded = loaded, .only_aside = true};
    bool any = false;

    *loaded = (struct loaded){0};
    if (!prepare(&bringing, error))
        return false;
    for (size_t i = 0; i < bringing.route_count; i++)
        any |= bringing.routes[i].family != NULL;
    return !any || bring_all(&bringing, error);
}
