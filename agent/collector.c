/* SPDX-License-Identifier: Apache-2.0 */
#include "collector.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "base/scoped.h"

/* A state beyond this is a mistake. */
#define MOST_STATE_BYTES (1 << 20)

struct rasad_key collector_key(const struct collector *collector, size_t i)
{
    const struct rasad_collector *api = &collector->api;
    struct rasad_key row = {0};
    size_t size = api->key_size < sizeof row ? api->key_size : sizeof row;

    memcpy(&row, (const char *)api->keys + i * api->key_size, size);
    return row;
}

bool collector_sends(const struct collector *collector, const char *key)
{
    for (size_t i = 0; i < collector->api.key_count; i++) {
        if (strcmp(collector_key(collector, i).name, key) == 0)
            return true;
    }
    return false;
}

static bool check_keys(const struct collector *collector, struct rasad_error *error)
{
    const struct rasad_collector *api = &collector->api;

    if (api->keys == NULL || api->key_count == 0)
        return rasad_fail(error, "incomplete: it sends no keys");
    for (size_t i = 0; i < api->key_count; i++) {
        struct rasad_key key = collector_key(collector, i);

        if (key.name == NULL || key.name[0] == '\0' || key.name[0] == '@')
            return rasad_fail(error, "incomplete: key %zu has no proper name", i + 1);
        if (key.plugin == NULL || key.unit == NULL || key.labels == NULL || key.help == NULL)
            return rasad_fail(error, "incomplete: key \"%s\" is not described", key.name);
    }
    return true;
}

static bool check_complete(const struct collector *collector, const char *name,
                           struct rasad_error *error)
{
    const struct rasad_collector *api = &collector->api;

    if (!module_is_name(api->name) || api->version == NULL || api->help == NULL)
        return rasad_fail(error, "incomplete: it has no name, version or help");
    if (strcmp(api->name, name) != 0)
        return rasad_fail(error, "it calls itself \"%s\" (name the file %s.so)", api->name,
                          api->name);
    if (api->collect == NULL)
        return rasad_fail(error, "incomplete: it has no collect");
    if (api->interval_ns <= 0)
        return rasad_fail(error, "incomplete: it has no interval");
    if (api->state_size > MOST_STATE_BYTES)
        return rasad_fail(error, "its state is larger than 1 MiB");
    return check_keys(collector, error);
}

/* Copies what the collector has of the struct; what it was compiled without stays zero. */
static bool read_api(struct collector *collector, struct rasad_error *error)
{
    const struct rasad_collector *theirs = collector->module.symbol;
    size_t size = theirs->size < sizeof collector->api ? theirs->size : sizeof collector->api;

    if (theirs->magic != RASAD_COLLECTOR_MAGIC)
        return rasad_fail(error, "rasad_collector doesn't begin with RASAD_COLLECTOR_HEAD");
    if (theirs->abi != RASAD_COLLECTOR_ABI)
        return rasad_fail(error, "made for collector ABI %u, but this is ABI %u (compile it anew)",
                          theirs->abi, RASAD_COLLECTOR_ABI);
    memcpy(&collector->api, theirs, size);
    return true;
}

static bool open_file(const char *path, const char *name, struct collector **out,
                      struct rasad_error *error)
{
    static const struct module_kind kind = {
        .what = "collector",
        .note_owner = RASAD_COLLECTOR_NOTE_OWNER,
        .abi = RASAD_COLLECTOR_ABI,
        .symbol = "rasad_collector",
    };
    SCOPED(collector_close_at) struct collector *collector = calloc(1, sizeof *collector);

    if (collector == NULL)
        return rasad_fail_memory(error);
    collector->module.fd = -1;
    if (!module_open(path, &kind, &collector->module, error))
        return false;
    if (!read_api(collector, error) || !check_complete(collector, name, error))
        return rasad_fail_at(error, "%s", path);
    if (collector->api.state_size > 0 &&
        (collector->state = calloc(1, collector->api.state_size)) == NULL)
        return rasad_fail_memory(error);
    *out = TAKE(collector);
    return true;
}

bool collector_open(const char *const *folders, size_t folder_count, const char *name,
                    struct collector **out, struct rasad_error *error)
{
    char nearest[MODULE_NAME_LENGTH];
    char path[PATH_MAX];

    if (module_find(folders, folder_count, name, path))
        return open_file(path, name, out, error);
    module_nearest(folders, folder_count, name, nearest);
    if (nearest[0] != '\0')
        return rasad_fail(error, "unknown collector \"%s\" (did you mean \"%s\"?)", name, nearest);
    return rasad_fail(error, "unknown collector \"%s\" (there is no %s.so in %s)", name, name,
                      folder_count > 0 ? folders[folder_count - 1] : "any folder");
}

void collector_close(struct collector *collector)
{
    if (collector == NULL)
        return;
    free(collector->state);
    (void)module_close(&collector->module);
    free(collector);
}

void collector_close_at(struct collector **collector)
{
    collector_close(*collector);
}
