/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * loading: brings what the database holds to the shards: streams and series, when the server starts
 * and when a reload brings a metric back. A layout's series come to the family that its metric
 * would be in by the conf: of the section with its title, or else with its name, or of a glob that
 * takes its key. States of another version are migrated. What comes together, because agents or
 * labels are not told apart any more, or states of one series lay in several shards, is merged.
 * What no metric takes, or what can't be brought over, stays aside on disk.
 *
 * Threads: one, while no shard runs or all stand still, and nobody reads the view.
 */
#include "base/log.h"
#include "conf/conf.h"
#include "shard.h"
#include "store/store.h"
#include "view.h"

struct loading {
    struct store *store;
    const struct conf *conf;
    struct families *families;
    struct shard *shards;
    int shard_count;
    struct view *view;
    const struct log *log;
    int64_t steady_ns; /* now */
    struct store_progress progress;
};

/* What came of it. */
struct loaded {
    uint64_t series; /* brought in, those merged into others too */
    uint64_t streams;
    uint64_t aside;   /* series that stay on disk */
    uint64_t refused; /* series of them that their plugin does not take */
};

/* Brings in everything; at a start. */
bool loading_run(const struct loading *loading, struct loaded *loaded, struct rasad_error *error);

/* Brings in series of metrics that were aside and are back; after a reload. */
bool loading_return(const struct loading *loading, struct loaded *loaded,
                    struct rasad_error *error);
