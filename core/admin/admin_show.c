/* SPDX-License-Identifier: Apache-2.0 */
#include "admin/admin_show.h"

#include <string.h>
#include <unistd.h>

#include "admin/json_add.h"
#include "base/clock.h"
#include "exporter/process.h"
#include "isolate/isolate.h"
#include "server.h"

static uint64_t sum(const struct server *server, size_t offset)
{
    return shards_sum(server->shards, server->common.shard_count, offset);
}

/* What all shards counted of a family. */
struct family_sums {
    uint64_t samples, overflow, refused;
};

static struct family_sums sum_family(const struct server *server, const struct family *family)
{
    struct family_sums sums = {0};

    for (int i = 0; i < server->common.shard_count; i++) {
        sums.samples += counter_read(&family->counters[i].samples);
        sums.overflow += counter_read(&family->counters[i].overflow_samples);
        sums.refused += counter_read(&family->counters[i].refused);
    }
    return sums;
}

/* Calls for each family, in the order of their making. */
static void each_family(const struct server *server,
                        void (*call)(const struct server *server, const struct family *family,
                                     void *context),
                        void *context)
{
    uint32_t count = families_count(&server->families);

    for (uint32_t id = 0; id < count; id++) {
        const struct family *family = families_at(&server->families, id);

        if (family != NULL)
            call(server, family, context);
    }
}

/* ---- status -------------------------------------------------------------------------------- */

/* The sums over all families. */
struct totals {
    uint64_t families, series, samples;
};

static void add_totals(const struct server *server, const struct family *family, void *context)
{
    struct totals *totals = context;

    totals->families++;
    totals->series += places_taken(&family->places);
    totals->samples += sum_family(server, family).samples;
}

static uint64_t refused(const struct server *server)
{
    uint64_t total = 0;

    for (size_t i = 0; i < REJECT_COUNT; i++)
        total += sum(server, offsetof(struct counters, rejected) + i * sizeof(uint64_t));
    return total;
}

static void add_address(struct text *out, const char *name, const struct conf_listen *listen)
{
    struct text address = {0};

    text_add_string(&address, listen->address);
    if (strncmp(listen->address, "unix:", 5) != 0)
        text_printf(&address, ":%u", listen->port);
    json_add_bytes(out, name, address.at, address.length);
    out->failed |= address.failed;
    text_free(&address);
}

static uint64_t count_atomic(const _Atomic int64_t *count)
{
    int64_t value = atomic_load_explicit(count, memory_order_relaxed);

    return value > 0 ? (uint64_t)value : 0;
}

static void add_reloads(const struct server *server, int64_t now_ns, struct text *out)
{
    const struct reloads *reloads = &server->reloads;
    int64_t loaded_ns = atomic_load(&reloads->last_success_ns);

    json_add_number(out, "conf_age_seconds", clock_seconds(now_ns - loaded_ns));
    json_add_bool(out, "last_reload_successful", atomic_load(&reloads->last_succeeded));
    json_add_count(out, "reloads", counter_read(&reloads->succeeded));
    json_add_count(out, "failed_reloads", counter_read(&reloads->failed));
}

static void show_status(struct server *server, struct text *out)
{
    int64_t now_ns = clock_wall_ns();
    struct totals totals = {0};

    each_family(server, add_totals, &totals);
    json_add_open(out, "data", '{');
    json_add_string(out, "version", RASAD_VERSION);
    json_add_count(out, "abi", RASAD_ABI);
    json_add_count(out, "pid", (uint64_t)getpid());
    json_add_number(out, "uptime_seconds", clock_seconds(now_ns - server->source.start_ns));
    json_add_string(out, "conf", server->conf->path);
    add_reloads(server, now_ns, out);
    add_address(out, "listen", &server->conf->listen);
    add_address(out, "http", &server->conf->http);
    json_add_count(out, "agents", count_atomic(&server->common.agent_count));
    json_add_count(out, "connections", count_atomic(&server->common.connection_count));
    json_add_count(out, "watchers",
                   atomic_load_explicit(&server->taps.count, memory_order_relaxed));
    json_add_count(out, "messages", sum(server, offsetof(struct counters, messages)));
    json_add_count(out, "samples", totals.samples);
    json_add_count(out, "refused", refused(server));
    json_add_count(out, "plugins", server->conf->shelf.count);
    json_add_count(out, "metrics", totals.families);
    json_add_count(out, "series", totals.series);
    json_add_count(out, "shards", (uint64_t)server->common.shard_count);
    json_add_count(out, "memory_bytes", process_resident_bytes());
    json_add_close(out, '}');
}

/* ---- plugins ------------------------------------------------------------------------------- */

/* What the families of a plugin come to. */
struct plugin_sums {
    const struct plugin *plugin;
    uint64_t families, series, samples, refused, errors;
};

static void add_to_plugin(const struct server *server, const struct family *family, void *context)
{
    struct plugin_sums *sums = context;
    struct family_sums of_family;

    if (family->aggregate->plugin != sums->plugin)
        return;
    of_family = sum_family(server, family);
    sums->families++;
    sums->series += places_taken(&family->places);
    sums->samples += of_family.samples;
    sums->refused += of_family.refused;
    sums->errors += counter_read(&family->render_errors);
}

static void show_plugins(struct server *server, struct text *out)
{
    const struct plugin_shelf *shelf = &server->conf->shelf;

    json_add_open(out, "data", '[');
    for (size_t i = 0; i < shelf->count; i++) {
        const struct plugin *plugin = shelf->plugins[i];
        struct plugin_sums sums = {.plugin = plugin};

        each_family(server, add_to_plugin, &sums);
        json_add_open(out, NULL, '{');
        json_add_string(out, "plugin", plugin->api.name);
        json_add_string(out, "version", plugin->api.version);
        json_add_count(out, "abi", plugin->api.abi);
        json_add_string(out, "state", plugin_is_isolated(plugin) ? "isolated" : "loaded");
        json_add_count(out, "metrics", sums.families);
        json_add_count(out, "series", sums.series);
        json_add_count(out, "samples", sums.samples);
        json_add_count(out, "refused", sums.refused);
        json_add_count(out, "errors", sums.errors);
        json_add_string(out, "file", plugin->path);
        json_add_close(out, '}');
    }
    json_add_close(out, ']');
}

/* ---- metrics ------------------------------------------------------------------------------- */

static void add_metric(const struct server *server, const struct family *family, void *context)
{
    static const char *const kinds[] = {
        [RASAD_GAUGE] = "gauge",
        [RASAD_COUNTER] = "counter",
        [RASAD_HISTOGRAM] = "histogram",
        [RASAD_SUMMARY] = "summary",
    };
    const struct conf_metric *metric = family->metric;
    const struct isolate *isolate = family->aggregate->isolate;
    struct family_sums sums = sum_family(server, family);
    struct text *out = context;

    json_add_open(out, NULL, '{');
    json_add_string(out, "metric", family->name);
    json_add_string(out, "kind", kinds[family->api->kind]);
    json_add_string(out, "plugin", family->api->name);
    json_add_string(out, "key", metric->key);
    json_add_string(out, "state",
                    isolate == NULL           ? "loaded"
                    : isolate_is_off(isolate) ? "off"
                                              : "isolated");
    json_add_count(out, "series", places_taken(&family->places));
    json_add_count(out, "max_series", metric->max_series);
    json_add_count(out, "samples", sums.samples);
    json_add_count(out, "refused", sums.refused);
    json_add_count(out, "overflow", sums.overflow);
    json_add_string(out, "help", metric->help);
    json_add_string(out, "file", metric->file);
    json_add_count(out, "line", (uint64_t)metric->line);
    json_add_close(out, '}');
}

static void show_metrics(struct server *server, struct text *out)
{
    json_add_open(out, "data", '[');
    each_family(server, add_metric, out);
    json_add_close(out, ']');
}

/* ---- agents -------------------------------------------------------------------------------- */

struct agent_walk {
    struct text *out;
    int64_t wall_ns;
    int64_t steady_ns;
};

/* Spans of time are told, and not times: the reader's clock may be another. */
static void add_agent(const struct agent *agent, void *context)
{
    const struct agent_walk *walk = context;
    struct text *out = walk->out;
    int64_t gone_ns = atomic_load_explicit(&agent->gone_since_ns, memory_order_relaxed);
    int64_t seen_ns = atomic_load_explicit(&agent->last_seen_ns, memory_order_relaxed);
    int64_t connected_ns = atomic_load_explicit(&agent->connected_ns, memory_order_relaxed);

    json_add_open(out, NULL, '{');
    json_add_bytes(out, "agent", agent->name, agent->length);
    json_add_bool(out, "named", atomic_load_explicit(&agent->named, memory_order_relaxed));
    json_add_string(out, "address", agent->address != NULL ? agent->address : agent->name);
    json_add_string(out, "state", gone_ns == 0 ? "live" : "gone");
    if (gone_ns == 0)
        json_add_number(out, "connected_seconds", clock_seconds(walk->wall_ns - connected_ns));
    else
        json_add_number(out, "gone_seconds", clock_seconds(walk->steady_ns - gone_ns));
    if (seen_ns != 0)
        json_add_number(out, "seen_seconds_ago", clock_seconds(walk->wall_ns - seen_ns));
    json_add_count(out, "messages", counter_read(&agent->messages));
    json_add_count(out, "refused", counter_read(&agent->refused));
    json_add_count(out, "dropped", counter_read(&agent->dropped));
    json_add_close(out, '}');
}

static void show_agents(struct server *server, struct text *out)
{
    struct agent_walk walk = {
        .out = out, .wall_ns = clock_wall_ns(), .steady_ns = clock_steady_ns()};

    json_add_open(out, "data", '[');
    for (int i = 0; i < server->common.shard_count; i++)
        agents_each(&server->shards[i].agents, add_agent, &walk);
    json_add_close(out, ']');
}

bool admin_show(struct server *server, const struct admin_request *request, struct text *out,
                struct rasad_error *error)
{
    bool fine = true;

    if (request->verb == ADMIN_SERIES)
        (void)publisher_refresh(&server->publisher);
    view_begin(&server->view);
    switch (request->verb) {
    case ADMIN_STATUS:
        show_status(server, out);
        break;
    case ADMIN_PLUGINS:
        show_plugins(server, out);
        break;
    case ADMIN_METRICS:
        show_metrics(server, out);
        break;
    case ADMIN_AGENTS:
        show_agents(server, out);
        break;
    default:
        fine = admin_show_series(server, request, out, error);
    }
    view_end(&server->view);
    return fine;
}
