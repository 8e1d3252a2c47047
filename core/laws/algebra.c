/* SPDX-License-Identifier: Apache-2.0 */
/* The laws about what states mean, whatever they are made of. */
#include <string.h>

#include "laws/table.h"

void law_init(struct bench *bench)
{
    bench_fresh(bench, 0, 0x00);
    bench_fresh(bench, 2, 0x00);
    bench_require(bench, memcmp(bench->blocks[0].state, bench->blocks[2].state, bench->size) == 0,
                  "init() makes different bytes each time");
    bench_fresh(bench, 1, 0xff);
    bench_same(bench, 1, 0, "made in zeroed bytes");
    bench_fresh(bench, 1, 0x5a);
    bench_same(bench, 1, 0, "made in zeroed bytes");
}

void law_neutral(struct bench *bench)
{
    bench_make(bench, 0, 0);
    bench_fresh(bench, 1, 0xff);
    bench_merge(bench, 1, 0);
    bench_same(bench, 1, 0, "before it was merged into a fresh state");
    bench_copy(bench, 1, 0);
    bench_fresh(bench, 2, 0xff);
    bench_merge(bench, 1, 2);
    bench_same(bench, 1, 0, "before a fresh state was merged into it");
}

void law_associative(struct bench *bench)
{
    for (int part = 0; part < 3; part++)
        bench_make(bench, part, part);
    bench_copy(bench, 3, 0); /* (x + y) + z */
    bench_merge(bench, 3, 1);
    bench_merge(bench, 3, 2);
    bench_merge(bench, 1, 2); /* x + (y + z) */
    bench_merge(bench, 0, 1);
    bench_same(bench, 3, 0, "with the last two merged first");
}

void law_commutative(struct bench *bench)
{
    bench_make(bench, 0, 0);
    bench_make(bench, 1, 1);
    bench_copy(bench, 2, 1);
    bench_merge(bench, 2, 0);
    bench_merge(bench, 0, 1);
    bench_same(bench, 0, 2, "merged the other way round");
}

void law_halves(struct bench *bench)
{
    bench_fresh(bench, 0, 0x00);
    bench_feed(bench, 0, -1);
    bench_make(bench, 1, 0);
    bench_make(bench, 2, 1);
    bench_merge(bench, 1, 2);
    bench_same(bench, 1, 0, "as one sequence");
}

void law_copy(struct bench *bench)
{
    bench_fresh(bench, 0, 0x00);
    bench_feed(bench, 0, -1);
    bench_fresh(bench, 1, 0xff);
    bench_feed(bench, 1, 0);
    bench_copy(bench, 3, 1);
    memset(bench->blocks[1].state, 0xaa, bench->size); /* an address in it finds rubbish */
    bench_feed(bench, 3, 1);
    bench_same(bench, 3, 0, "where it was not moved");
}
