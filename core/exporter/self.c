/* SPDX-License-Identifier: Apache-2.0 */
#include "exporter/self.h"

#include <math.h>
#include <string.h>

#include "base/clock.h"
#include "base/number.h"
#include "exporter/exposition.h"

struct self {
    struct scrape_source *source;
    const struct filter *filter;
    struct text *out;
    struct text labels;
    const char *name; /* of the family at hand */
};

/* Begins a family, if it is wanted. */
static bool begin(struct self *self, const char *name, const char *type, const char *help)
{
    if (!filter_wants(self->filter, name))
        return false;
    self->name = name;
    exposition_head(self->out, name, "", type, help);
    return true;
}

static void label(struct self *self, const char *name, const char *value)
{
    exposition_label(&self->labels, name, value, strlen(value));
}

/* A sample of the family at hand under the labels so far, which are forgotten. */
static void sample(struct self *self, uint64_t value)
{
    exposition_count(self->out, self->name, "", &self->labels, value);
    text_clear(&self->labels);
}

static void sample_number(struct self *self, double value)
{
    exposition_number(self->out, self->name, "", &self->labels, value);
    text_clear(&self->labels);
}

/* Of the counter at this offset in struct counters. */
static uint64_t sum(const struct self *self, size_t offset)
{
    return shards_sum(self->source->shards, self->source->common->shard_count, offset);
}

static void add_totals(struct self *self)
{
    if (begin(self, "rasad_messages_total", "counter", "Messages taken, refused ones too."))
        sample(self, sum(self, offsetof(struct counters, messages)));
    if (begin(self, "rasad_connections_total", "counter", "Connections accepted from senders."))
        sample(self, sum(self, offsetof(struct counters, connections)));
    if (begin(self, "rasad_connections_refused_total", "counter",
              "Connections refused for want of file descriptors."))
        sample(self, counter_read(self->source->refused_connections));
    if (begin(self, "rasad_clamped_times_total", "counter",
              "Samples whose time was more than 5 minutes ahead and was clamped."))
        sample(self, sum(self, offsetof(struct counters, clamped_times)));
    if (!begin(self, "rasad_rejected_total", "counter", "Samples and messages refused, by reason."))
        return;
    for (int i = 0; i < REJECT_COUNT; i++) {
        label(self, "reason", reject_word((enum reject)i));
        sample(self, sum(self, offsetof(struct counters, rejected) + (size_t)i * sizeof(uint64_t)));
    }
}

static uint64_t samples_of(const struct self *self, const struct family *family)
{
    return family_samples(family, self->source->common->shard_count);
}

static uint64_t family_overflow(const struct self *self, const struct family *family)
{
    uint64_t total = 0;

    for (int i = 0; i < self->source->common->shard_count; i++)
        total += counter_read(&family->counters[i].overflow_samples);
    return total;
}

static uint64_t family_series(const struct self *self, const struct family *family)
{
    return places_taken(&family->places);
}

static uint64_t family_render_errors(const struct self *self, const struct family *family)
{
    return counter_read(&family->render_errors);
}

/* One sample a metric family. */
static void add_by_family(struct self *self, const char *name, const char *type, const char *help,
                          uint64_t (*value)(const struct self *self, const struct family *family))
{
    uint32_t count = families_count(self->source->families);

    if (count == 0 || !begin(self, name, type, help))
        return;
    for (uint32_t id = 0; id < count; id++) {
        const struct family *family = families_at(self->source->families, id);

        if (family == NULL)
            continue;
        label(self, "metric", family->name);
        sample(self, value(self, family));
    }
}

static void add_families(struct self *self)
{
    add_by_family(self, "rasad_samples_total", "counter", "Samples applied, by metric.",
                  samples_of);
    add_by_family(self, "rasad_overflow_samples_total", "counter",
                  "Samples merged into {overflow=\"true\"} beyond max_series, by metric.",
                  family_overflow);
    add_by_family(self, "rasad_series", "gauge", "Series held, by metric.", family_series);
    add_by_family(self, "rasad_render_errors_total", "counter",
                  "Series left out of a scrape for what their plugin rendered, by metric.",
                  family_render_errors);
}

static double agent_up(const struct agent *agent)
{
    return atomic_load_explicit(&agent->gone_since_ns, memory_order_relaxed) == 0;
}

static double agent_last_seen(const struct agent *agent)
{
    return clock_seconds(atomic_load_explicit(&agent->last_seen_ns, memory_order_relaxed));
}

static double agent_dropped(const struct agent *agent)
{
    return (double)counter_read(&agent->dropped);
}

static double agent_forks(const struct agent *agent)
{
    return (double)counter_read(&agent->forks);
}

/* What is told of each named agent. */
static const struct agent_family {
    const char *name, *type, *help;
    double (*value)(const struct agent *agent);
} agent_families[] = {
    {"rasad_agent_up", "gauge", "Whether a named agent is connected.", agent_up},
    {"rasad_agent_last_seen_timestamp_seconds", "gauge",
     "When a named agent last sent something, in seconds since 1970.", agent_last_seen},
    {"rasad_agent_dropped_total", "counter", "Messages of a named agent that will never come.",
     agent_dropped},
    {"rasad_agent_forks_total", "counter",
     "Times that a named agent's stream was not the one known of it.", agent_forks},
};

/* One family's walk over the agents. */
struct agent_walk {
    struct self *self;
    const struct agent_family *family;
};

static void add_agent(const struct agent *agent, void *context)
{
    const struct agent_walk *walk = context;

    if (!atomic_load_explicit(&agent->named, memory_order_relaxed))
        return;
    exposition_label(&walk->self->labels, "agent", agent->name, agent->length);
    sample_number(walk->self, walk->family->value(agent));
}

static void add_agent_family(struct self *self, const struct agent_family *family)
{
    struct agent_walk walk = {self, family};
    size_t head = self->out->length, body;

    if (!begin(self, family->name, family->type, family->help))
        return;
    body = self->out->length;
    for (int i = 0; i < self->source->common->shard_count; i++)
        agents_each(&self->source->shards[i].agents, add_agent, &walk);
    if (self->out->length == body)
        self->out->length = head;
}

static void add_agents(struct self *self)
{
    int64_t agents = atomic_load_explicit(&self->source->common->agent_count, memory_order_relaxed);

    if (begin(self, "rasad_agents", "gauge", "Agents now connected, named or not."))
        sample(self, agents > 0 ? (uint64_t)agents : 0);
    for (size_t i = 0; i < sizeof agent_families / sizeof *agent_families; i++)
        add_agent_family(self, &agent_families[i]);
}

static void add_timing(struct self *self, const char *name, const char *help,
                       const struct timing *timing)
{
    uint64_t count = 0;

    if (!begin(self, name, "histogram", help))
        return;
    for (int i = 0; i <= TIMING_BOUNDS; i++) {
        char bound[NUMBER_LENGTH];

        count += counter_read(&timing->counts[i]);
        (void)number_format(i < TIMING_BOUNDS ? timing_bound(i) : (double)INFINITY, bound);
        label(self, "le", bound);
        exposition_count(self->out, name, "_bucket", &self->labels, count);
        text_clear(&self->labels);
    }
    exposition_number(self->out, name, "_sum", NULL, (double)counter_read(&timing->sum_ns) / 1e9);
    exposition_count(self->out, name, "_count", NULL, count);
}

static void add_build(struct self *self)
{
    char abi[16];

    (void)snprintf(abi, sizeof abi, "%d", RASAD_ABI);
    if (begin(self, "rasad_build_info", "gauge", "The server's version; always 1.")) {
        label(self, "version", RASAD_VERSION);
        label(self, "abi", abi);
        sample(self, 1);
    }
    if (self->source->conf->shelf.count == 0 ||
        !begin(self, "rasad_plugin_info", "gauge", "A plugin in use; always 1."))
        return;
    for (size_t i = 0; i < self->source->conf->shelf.count; i++) {
        const struct plugin *plugin = self->source->conf->shelf.plugins[i];

        label(self, "plugin", plugin->api.name);
        label(self, "version", plugin->api.version);
        (void)snprintf(abi, sizeof abi, "%u", plugin->api.abi);
        label(self, "abi", abi);
        label(self, "path", plugin->path);
        if (plugin_is_isolated(plugin))
            label(self, "isolated", "true");
        sample(self, 1);
    }
}

/* Of the state on disk, if there is one. */
static void add_store(struct self *self)
{
    struct publisher *publisher = self->source->publisher;

    if (publisher->store == NULL)
        return;
    if (begin(self, "rasad_commit_errors_total", "counter",
              "Commits that failed; nothing is acknowledged until one succeeds."))
        sample(self, counter_read(&publisher->errors));
    if (begin(self, "rasad_state_bytes", "gauge", "Size of the state's file on disk."))
        sample(self, store_bytes(publisher->store));
}

static void add_reloads(struct self *self)
{
    const struct reloads *reloads = self->source->reloads;

    if (begin(self, "rasad_reloads_total", "counter", "Reloads of the conf, by result.")) {
        label(self, "result", "success");
        sample(self, counter_read(&reloads->succeeded));
        label(self, "result", "failure");
        sample(self, counter_read(&reloads->failed));
    }
    if (begin(self, "rasad_config_last_reload_successful", "gauge",
              "Whether the conf was applied when it was last read."))
        sample(self, atomic_load(&reloads->last_succeeded) ? 1 : 0);
    if (begin(self, "rasad_config_last_reload_success_timestamp_seconds", "gauge",
              "When a conf was last applied, in seconds since 1970."))
        sample_number(self, clock_seconds(atomic_load(&reloads->last_success_ns)));
    if (begin(self, "rasad_plugin_leaked_generations", "gauge",
              "Replaced plugins that could not be unloaded."))
        sample(self, counter_read(&reloads->leaked));
}

void self_metrics(struct scrape_source *source, const struct filter *filter, struct text *out)
{
    struct self self = {.source = source, .filter = filter, .out = out};

    add_build(&self);
    add_agents(&self);
    add_totals(&self);
    add_families(&self);
    add_store(&self);
    add_reloads(&self);
    add_timing(&self, "rasad_commit_seconds",
               "How long it took to bring the shards' changes to the disk and into what is shown.",
               &source->publisher->took);
    add_timing(&self, "rasad_scrape_seconds", "How long it took to write an exposition.",
               &source->took);
    out->failed |= self.labels.failed;
    text_free(&self.labels);
}
