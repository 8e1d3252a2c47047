/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * journal_inside: what journal.c and journal_open.c share. For nobody else.
 */
#include "journal.h"

/* Puts a segment at the end of the list. */
void journal_append(struct journal *journal, struct segment *segment);

/* Gives the journal a stream of its own. */
bool journal_draw_stream(struct journal *journal, struct rasad_error *error);

/* Makes a segment that goes on from `begin` with these entries (or NULL), which come to `end`. */
bool journal_make_segment(const struct journal *journal, const struct segment_end *begin,
                          struct text *entries, const struct segment_end *end, struct segment **out,
                          struct rasad_error *error);
