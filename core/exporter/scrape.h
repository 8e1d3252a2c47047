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

/* What became of the confs so far. */
struct reloads {
    _Atomic uint64_t succeeded;
    _Atomic uint64_t failed;
    _Atomic bool last_succeeded;     /* at the start it did */
    _Atomic int64_t last_success_ns; /* wall */
    _Atomic uint64_t leaked;         /* replaced plugins that glibc could not unload */
};

/* Where a scrape finds what it shows. */
struct scrape_source {
    const struct conf *conf; /* another one after a reload; between view_begin() and view_end() */
    struct families *families;
    struct view *view;
    struct publisher *publisher;
    struct shard *shards;
    struct shard_common *common;
    const _Atomic uint64_t *refused_connections; /* beyond the limit of descriptors */
    const struct reloads *reloads;
    int64_t start_ns; /* wall, of the server */
    struct timing took;
};

/* Writes what the filter wants, as of now. */
void scrape_write(struct scrape_source *source, const struct filter *filter, struct text *out);
