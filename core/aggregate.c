/* SPDX-License-Identifier: Apache-2.0 */
#include "aggregate.h"

#include <stdlib.h>
#include <string.h>

#include "isolate/isolate.h"

bool aggregate_open(struct aggregate *aggregate, struct rasad_error *error)
{
    const struct rasad_plugin *api = &aggregate->plugin->api;
    size_t size = api->state_size(aggregate->config);

    if (size < 1 || size > AGGREGATE_MAX_STATE)
        return rasad_fail(error,
                          "plugin \"%s\" wants a state of %zu bytes, which can be 1 to %d "
                          "(its options ask for more, or it is wrong)",
                          api->name, size, AGGREGATE_MAX_STATE);
    aggregate->exact_size = size;
    aggregate->state_size = (size + 7) & ~(size_t)7;
    /* Bytes that init() leaves alone are equal in equal states. */
    aggregate->fresh = calloc(1, aggregate->state_size);
    if (aggregate->fresh == NULL)
        return rasad_fail_memory(error);
    api->init(aggregate->config, aggregate->fresh);
    return true;
}

bool aggregate_isolate(struct aggregate *aggregate, const char *metric, int64_t timeout_ns,
                       struct rasad_error *error)
{
    const void *fresh;
    size_t size;

    if (!isolate_open(aggregate->plugin, metric, aggregate->section, timeout_ns,
                      &aggregate->isolate, error))
        return false;
    fresh = isolate_fresh(aggregate->isolate, &size);
    if (size < 1 || size > AGGREGATE_MAX_STATE)
        return rasad_fail(error, "plugin \"%s\" has a state of %zu bytes",
                          aggregate->plugin->api.name, size);
    aggregate->exact_size = size;
    aggregate->state_size = (size + 7) & ~(size_t)7;
    aggregate->fresh = calloc(1, aggregate->state_size);
    if (aggregate->fresh == NULL)
        return rasad_fail_memory(error);
    memcpy(aggregate->fresh, fresh, size);
    return true;
}

bool aggregate_begin(struct aggregate *aggregate, const struct isolate_house *house,
                     struct rasad_error *error)
{
    return aggregate->isolate == NULL || isolate_begin(aggregate->isolate, house, error);
}

void aggregate_close(struct aggregate *aggregate)
{
    isolate_close(aggregate->isolate);
    aggregate->isolate = NULL;
    free(aggregate->fresh);
    aggregate->fresh = NULL;
}

void aggregate_init(const struct aggregate *aggregate, void *state)
{
    memcpy(state, aggregate->fresh, aggregate->state_size);
}

bool aggregate_merge(const struct aggregate *aggregate, void *into, const void *from,
                     struct rasad_error *error)
{
    if (aggregate->isolate != NULL)
        return isolate_merge(aggregate->isolate, into, &from, 1, error);
    aggregate->plugin->api.merge(aggregate->config, into, from);
    return true;
}

bool aggregate_render(const struct aggregate *aggregate, const void *state,
                      struct rasad_writer *writer)
{
    if (aggregate->isolate != NULL)
        return isolate_render(aggregate->isolate, &state, 1, writer, NULL);
    aggregate->plugin->api.render(aggregate->config, state, writer);
    return true;
}

bool aggregate_migrate(const struct aggregate *aggregate, uint32_t from_version, const void *from,
                       size_t size, void *into, struct rasad_error *error)
{
    const struct rasad_plugin *api = &aggregate->plugin->api;

    aggregate_init(aggregate, into);
    if (aggregate->isolate != NULL)
        return isolate_migrate(aggregate->isolate, from_version, from, size, into, error);
    if (api->migrate(aggregate->config, from_version, from, size, into))
        return true;
    return rasad_fail(error, "plugin \"%s\" %s cannot bring over a state of version %u (%zu bytes)",
                      api->name, api->version, from_version, size);
}
