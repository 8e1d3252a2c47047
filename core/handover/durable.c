/* SPDX-License-Identifier: Apache-2.0 */
#include "handover/durable.h"

#include <stdlib.h>

#include "base/scoped.h"
#include "server.h"

bool durable_is_wanted(const struct conf *conf, struct rasad_error *error)
{
    return conf->state_dir[0] != '\0' ||
           rasad_fail(error,
                      "state_dir is \"\", so an upgrade would lose all counts (set state_dir, "
                      "or restart the server)");
}

bool durable_is_readable(const struct conf *conf, struct rasad_error *error)
{
    return true; /* nothing is kept there by this version */
}

bool durable_was_loaded(const struct server *server)
{
    return false;
}

/* The cuts of all shards. */
struct cutting {
    struct server *server;
    struct cut **cuts;
};

static bool task_cut(void *context, int shard)
{
    struct cutting *cutting = context;

    cutting->cuts[shard] = series_cut(&cutting->server->shards[shard].ingest.store);
    return cutting->cuts[shard] != NULL;
}

bool server_commit_all(struct server *server, struct rasad_error *error)
{
    int count = server->common.shard_count;
    SCOPED(free_at) struct cut **cuts = calloc((size_t)count, sizeof *cuts);
    struct cutting cutting = {server, cuts};
    bool fine;

    if (cuts == NULL)
        return rasad_fail_memory(error);
    fine = standstill_run(&server->common.standstill, task_cut, &cutting);
    publisher_take_late(&server->publisher);
    for (int i = 0; i < count; i++) {
        if (cuts[i] != NULL)
            view_take_shut(&server->view, cuts[i]);
    }
    return fine || rasad_fail_memory(error);
}
