/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * self: the rasad_* families: what the server says of itself. They count from its start.
 * Threads: any.
 */
#include "exporter/filter.h"
#include "exporter/scrape.h"

void self_metrics(struct scrape_source *source, const struct filter *filter, struct text *out);
