/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * draw: random numbers, samples and confs, all of them a function of a seed.
 * Threads: none inside. Memory: plain values; a conf goes into a text of the caller's.
 */
#include <rasad/plugin.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/conf_scan.h"
#include "base/text.h"
#include "laws/slate.h"

/* The next 64 random bits; the seed moves on. */
uint64_t draw_bits(uint64_t *seed);

/* A number from 0 to limit - 1. */
uint64_t draw_below(uint64_t *seed, uint64_t limit);

/* One of several independent seeds made of one. */
uint64_t draw_seed(uint64_t seed, uint64_t which);

/* What the samples of a case are like. */
enum {
    DRAW_WIDE = 1,      /* any number there is; else whole ones whose sums are exact */
    DRAW_HALVES = 2,    /* each part follows the one before; else they are woven */
    DRAW_UNORDERED = 4, /* some samples are older than those before them */
};

/* A case of up to CASE_SAMPLES samples for so many states. */
void draw_case(uint64_t seed, unsigned kind, unsigned parts, struct law_case *into);

/*
 * Adds statements for a plugin's options, values within their bounds. `spare`: only for those
 * without a preset. Options that stand in the section `given` (NULL: none) are left out.
 */
void draw_conf(uint64_t seed, const struct rasad_option *rows, size_t count, bool spare,
               const struct conf_statement *given, struct text *out);
