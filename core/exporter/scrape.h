/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * scrape: one whole exposition: the plugins' families out of the view, then rasad_* and process_*.
 * Threads: any number at once; none of them stops a shard.
 */
#include <stdint.h>

#include "base/text.h"
#include "conf/conf.h"
#include "exporter/filter.h"
#include "exporter/timing.h"
#include "family.h"
#include "publisher.h"
#include "shard.h"
#include "view.h"

/* Where a scrape finds what it shows. */
struct scrape_source {
    const struct conf *conf;
    struct families *families;
    struct view *view;
    struct publisher *publisher;
    struct shard *shards;
    struct shard_common *common;
    const _Atomic uint64_t *refused_connections; /* beyond the limit of descriptors */
    const _Atomic uint64_t *failed_reloads;
    int64_t start_ns; /* wall, of the server */
    struct timing took;
};

/* Writes what the filter wants, as of now. */
void scrape_write(struct scrape_source *source, const struct filter *filter, struct text *out);
