/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * process: the process_* families, as client libraries give them
 * (prometheus/docs, docs/instrumenting/writing_clientlibs.md § Process metrics).
 */
#include "base/text.h"
#include "exporter/filter.h"

/* Writes those that can be had. Threads: any. */
void process_metrics(struct text *out, const struct filter *filter);
