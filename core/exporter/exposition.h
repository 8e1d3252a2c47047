/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * exposition: the Prometheus text format 0.0.4
 * (prometheus/docs, docs/instrumenting/exposition_formats.md).
 * Threads: none inside. Memory: writes into the caller's text, which remembers a failure.
 */
#include <stddef.h>
#include <stdint.h>

#include "base/text.h"
#include "exporter/points.h"

#define EXPOSITION_TEXT_TYPE "text/plain; version=0.0.4; charset=utf-8"

/* # HELP and # TYPE; `suffix` is put behind the name. */
void exposition_head(struct text *out, const char *name, const char *suffix, const char *type,
                     const char *help);

/* Adds name="value" to a list of labels, with a comma if it isn't the first. */
void exposition_label(struct text *labels, const char *name, const char *value, size_t length);

/* One line: name, suffix, labels (as exposition_label() made them) and value. */
void exposition_number(struct text *out, const char *name, const char *suffix,
                       const struct text *labels, double value);
void exposition_count(struct text *out, const char *name, const char *suffix,
                      const struct text *labels, uint64_t value);

/* All lines of one series, but for _created. The points fit the kind. `labels` is used and
 * restored. */
void exposition_series(struct text *out, const char *name, uint32_t kind, struct text *labels,
                       const struct point_set *points);

/* The lines of one series in its _created family, one for each sub-series. `labels` likewise. */
void exposition_created(struct text *out, const char *name, struct text *labels,
                        const struct point_set *points, double seconds);
