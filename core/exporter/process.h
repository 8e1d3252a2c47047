/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * process: the process_* families, as client libraries give them
 * (prometheus/docs, docs/instrumenting/writing_clientlibs.md § Process metrics).
 */
#include <stdint.h>

#include "base/text.h"
#include "exporter/filter.h"

/* Bytes of memory that this process has; 0 if that can't be told. Threads: any. */
uint64_t process_resident_bytes(void);

/* Descriptors that are open; -1 if that can't be told. Threads: any. */
int64_t process_open_descriptors(void);

/* Writes those that can be had. Threads: any. */
void process_metrics(struct text *out, const struct filter *filter);
