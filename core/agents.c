/* SPDX-License-Identifier: Apache-2.0 */
#include "agents.h"

#include <stdlib.h>
#include <string.h>

#include "hash.h"

struct name {
    const char *at;
    size_t length;
};

struct stream_key {
    const struct agent *agent;
    const unsigned char *id;
};

uint32_t agent_hash(const char *name, size_t length)
{
    return hash_bytes(name, length);
}

void agents_open(struct agents *agents)
{
    *agents = (struct agents){0};
    (void)pthread_mutex_init(&agents->lock, NULL);
}

static void free_stream(struct stream *stream)
{
    agent_unref(stream->agent);
    free(stream);
}

void agents_close(struct agents *agents)
{
    struct table_item *item;
    size_t slot = 0;

    for (struct stream *next, *stream = agents->first_dirty; stream != NULL; stream = next) {
        next = stream->next_dirty;
        if (stream->is_gone)
            free_stream(stream);
    }
    while ((item = table_next(&agents->streams, &slot)) != NULL)
        free_stream((struct stream *)item);
    slot = 0;
    while ((item = table_next(&agents->agents, &slot)) != NULL)
        agent_unref((struct agent *)item);
    table_free(&agents->streams);
    table_free(&agents->agents);
    (void)pthread_mutex_destroy(&agents->lock);
}

static bool agent_matches(const struct table_item *item, const void *wanted)
{
    const struct agent *agent = (const struct agent *)item;
    const struct name *name = wanted;

    return agent->length == name->length && memcmp(agent->name, name->at, name->length) == 0;
}

static struct agent *add_agent(struct agents *agents, const char *name, size_t length,
                               uint32_t hash)
{
    struct agent *agent = calloc(1, sizeof *agent + length + 1);
    bool added;

    if (agent == NULL)
        return NULL;
    agent->item.hash = hash;
    agent->length = (uint32_t)length;
    memcpy(agent->name, name, length);
    atomic_init(&agent->references, 1); /* the directory's */
    (void)pthread_mutex_lock(&agents->lock);
    added = table_add(&agents->agents, &agent->item);
    (void)pthread_mutex_unlock(&agents->lock);
    if (added)
        return agent;
    free(agent);
    return NULL;
}

struct agent *agents_get(struct agents *agents, const char *name, size_t length)
{
    const struct name wanted = {name, length};
    uint32_t hash = agent_hash(name, length);
    struct table_item *item = table_find(&agents->agents, hash, agent_matches, &wanted);

    return item != NULL ? (struct agent *)item : add_agent(agents, name, length, hash);
}

static bool stream_matches(const struct table_item *item, const void *wanted)
{
    const struct stream *stream = (const struct stream *)item;
    const struct stream_key *key = wanted;

    return stream->agent == key->agent && memcmp(stream->id, key->id, sizeof stream->id) == 0;
}

struct stream *agents_get_stream(struct agents *agents, struct agent *agent,
                                 const unsigned char id[16])
{
    const struct stream_key wanted = {agent, id};
    uint32_t hash = hash_bytes(id, sizeof((struct stream *)NULL)->id);
    struct stream *stream =
        (struct stream *)table_find(&agents->streams, hash, stream_matches, &wanted);

    if (stream != NULL)
        return stream;
    stream = calloc(1, sizeof *stream);
    if (stream == NULL)
        return NULL;
    stream->item.hash = hash;
    memcpy(stream->id, id, sizeof stream->id);
    if (!table_add(&agents->streams, &stream->item)) {
        free(stream);
        return NULL;
    }
    stream->agent = agent_ref(agent);
    agent->streams++;
    return stream;
}

/* Without memory it isn't known any more, which harms nobody. */
void agents_note_address(struct agents *agents, struct agent *agent, const char *address)
{
    char *copy = strdup(address);

    (void)pthread_mutex_lock(&agents->lock);
    free(agent->address);
    agent->address = copy;
    (void)pthread_mutex_unlock(&agents->lock);
}

struct agent *agent_ref(struct agent *agent)
{
    (void)atomic_fetch_add_explicit(&agent->references, 1, memory_order_relaxed);
    return agent;
}

void agent_unref(struct agent *agent)
{
    /* acq_rel: all that other holders did to it happens before it is freed. */
    if (agent != NULL &&
        atomic_fetch_sub_explicit(&agent->references, 1, memory_order_acq_rel) == 1) {
        free(agent->address);
        free(agent);
    }
}

void agents_touch_stream(struct agents *agents, struct stream *stream)
{
    if (stream->is_dirty || !agents->keeps_marks)
        return;
    stream->is_dirty = true;
    stream->next_dirty = agents->first_dirty;
    agents->first_dirty = stream;
    agents->dirty_count++;
}

static void forget_stream(struct agents *agents, struct stream *stream)
{
    table_remove(&agents->streams, &stream->item);
    stream->agent->streams--;
    stream->is_gone = true;
    if (agents->keeps_marks)
        agents_touch_stream(agents, stream);
    else
        free_stream(stream);
}

void marks_free(struct marks *marks)
{
    for (size_t i = 0; marks != NULL && i < marks->count && marks->at[i].gone; i++)
        free_stream(marks->at[i].stream);
    free(marks);
}

void agents_touch_all(struct agents *agents)
{
    struct table_item *item;
    size_t slot = 0;

    while ((item = table_next(&agents->streams, &slot)) != NULL)
        agents_touch_stream(agents, (struct stream *)item);
}

static struct mark make_mark(struct stream *stream)
{
    return (struct mark){
        .stream = stream,
        .applied = stream->applied,
        .chain = stream->chain,
        .gone = stream->is_gone,
        .in_use = stream->connection != NULL,
        .last_used_ns = stream->last_used_ns,
        .last_seen_ns = atomic_load_explicit(&stream->agent->last_seen_ns, memory_order_relaxed),
    };
}

bool agents_reserve_marks(const struct agents *agents, struct marks **marks)
{
    *marks = NULL;
    if (!agents->keeps_marks)
        return true;
    *marks = malloc(sizeof **marks + agents->dirty_count * sizeof *(*marks)->at);
    if (*marks == NULL)
        return false;
    **marks = (struct marks){.count = 0};
    return true;
}

void agents_mark(struct agents *agents, struct marks *marks)
{
    size_t front = 0, back = agents->dirty_count;

    if (marks == NULL)
        return;
    marks->count = agents->dirty_count;
    for (struct stream *next, *stream = agents->first_dirty; stream != NULL; stream = next) {
        next = stream->next_dirty;
        stream->is_dirty = false;
        marks->at[stream->is_gone ? front++ : --back] = make_mark(stream);
    }
    agents->first_dirty = NULL;
    agents->dirty_count = 0;
}

struct stream *agents_take_mark(struct agents *agents, const struct mark *mark)
{
    struct stream *stream = mark->stream;

    if (mark->gone) {
        free_stream(stream);
        return NULL;
    }
    stream->committed = mark->applied;
    return stream;
}

static void sweep_streams(struct agents *agents, size_t slot, size_t end, int64_t before_ns)
{
    struct table_item *item;

    while (slot < end && (item = table_next(&agents->streams, &slot)) != NULL) {
        struct stream *stream = (struct stream *)item;

        if (stream->connection == NULL && stream->last_used_ns < before_ns)
            forget_stream(agents, stream);
    }
}

/* A named agent is remembered like its streams: that it is gone is worth showing. */
static bool is_needed(const struct agent *agent, int64_t before_ns)
{
    int64_t gone_ns = atomic_load_explicit(&agent->gone_since_ns, memory_order_relaxed);

    if (agent->connections > 0 || agent->series > 0 || agent->streams > 0)
        return true;
    return atomic_load_explicit(&agent->named, memory_order_relaxed) && gone_ns >= before_ns;
}

void agents_sweep(struct agents *agents, size_t *slot, size_t most, int64_t before_ns)
{
    size_t end = *slot + most, at = *slot;
    struct table_item *item;

    sweep_streams(agents, at, end, before_ns);
    while (at < end && (item = table_next(&agents->agents, &at)) != NULL) {
        struct agent *agent = (struct agent *)item;

        if (is_needed(agent, before_ns))
            continue;
        (void)pthread_mutex_lock(&agents->lock);
        table_remove(&agents->agents, &agent->item);
        (void)pthread_mutex_unlock(&agents->lock);
        agent_unref(agent);
    }
    *slot = end <= agents->agents.mask || end <= agents->streams.mask ? end : 0;
}

void agents_each(struct agents *agents, void (*call)(const struct agent *agent, void *context),
                 void *context)
{
    struct table_item *item;
    size_t slot = 0;

    (void)pthread_mutex_lock(&agents->lock);
    while ((item = table_next(&agents->agents, &slot)) != NULL)
        call((const struct agent *)item, context);
    (void)pthread_mutex_unlock(&agents->lock);
}
