/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * segment_inside: what segment.c (entries, files) and segment_head.c (heads, and opening by them)
 * share. For nobody else.
 */
#include "segment.h"

/* No head is longer. */
#define SEGMENT_MOST_HEAD_BYTES 4096

/* Adds the head of a segment that goes on from `begin`. */
void segment_add_head(struct text *out, const struct segment_head *head,
                      const struct segment_end *begin);

/* How long the head of this agent and server is. */
size_t segment_head_size(const struct segment_head *head);
