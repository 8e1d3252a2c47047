/* SPDX-License-Identifier: Apache-2.0 */
#include "laws/draw.h"

#include <float.h>
#include <string.h>

#include "base/number.h"

#define COUNT(array) (sizeof(array) / sizeof *(array))

/* The time of a case's first sample, about. */
#define START_NS INT64_C(1700000000000000000)

/* splitmix64 */
uint64_t draw_bits(uint64_t *seed)
{
    uint64_t z = *seed += UINT64_C(0x9e3779b97f4a7c15);

    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

uint64_t draw_below(uint64_t *seed, uint64_t limit)
{
    return draw_bits(seed) % limit;
}

uint64_t draw_seed(uint64_t seed, uint64_t which)
{
    seed ^= which * UINT64_C(0xd1342543de82ef95);
    return draw_bits(&seed);
}

/* A whole number; sums of a case's samples stay below 2^53. */
static double draw_whole(uint64_t *seed)
{
    static const uint64_t sizes[] = {2, 20, 1000, UINT64_C(1) << 40};
    double size = (double)draw_below(seed, sizes[draw_below(seed, COUNT(sizes))]);

    return draw_below(seed, 4) == 0 ? -size : size;
}

static double draw_number(uint64_t *seed, unsigned kind)
{
    static const double odd[] = {-0.0,   DBL_MIN, 0x1p-1074, 1e-300, 0x1p53 + 2, 0x1p63,
                                 0x1p64, 1e300,   DBL_MAX,   0.1,    1.0 / 3,    0.5,
                                 1e-9,   999.999, 0x1p32,    1e15};
    double number;

    if ((kind & DRAW_WIDE) == 0 || draw_below(seed, 2) == 0)
        return draw_whole(seed);
    if (draw_below(seed, 2) == 0)
        return (double)(int64_t)draw_bits(seed) / 0x1p40;
    number = odd[draw_below(seed, COUNT(odd))];
    return draw_below(seed, 4) == 0 ? -number : number;
}

/* Few words, so that they come again. */
static void draw_text(uint64_t *seed, unsigned kind, struct case_sample *sample)
{
    static const struct {
        const char *bytes;
        uint32_t length;
    } texts[] = {
        {"", 0},
        {"a", 1},
        {"banana", 6},
        {"quick", 5},
        {"/login", 6},
        {"\xc3\xa9t\xc3\xa9 A", 7},      /* two bytes a letter */
        {"\xe6\x97\xa5\xe6\x9c\xac", 6}, /* three */
        {"\xf0\x9f\x93\x88", 4},         /* four */
        {"1e5x", 4},                     /* begins as a number */
        {"say \"no\"\\\t.", 11},         /* what output must escape */
        {"cut\0here", 8},                /* from here on wide only */
        {"\x7f\xc2\x85", 3},
    };
    size_t which = draw_below(seed, (kind & DRAW_WIDE) != 0 ? COUNT(texts) + 1 : 10);

    if (which == COUNT(texts)) { /* a long one */
        sample->length = CASE_TEXT - 1;
        memset(sample->text, 'x', CASE_TEXT - 1);
        return;
    }
    sample->length = texts[which].length;
    memcpy(sample->text, texts[which].bytes, sample->length);
}

/* What a sample is; when and whose it is comes later. `texts` and `changes` are of eight. */
static struct case_sample draw_sample(uint64_t *seed, unsigned kind, uint64_t texts,
                                      uint64_t changes)
{
    struct case_sample sample = {.type = RASAD_NUMBER, .seed = draw_bits(seed)};

    sample.has_exemplar = draw_below(seed, 8) == 0;
    if (draw_below(seed, 8) < texts) {
        sample.type = RASAD_TEXT;
        draw_text(seed, kind, &sample);
        return sample;
    }
    sample.number = draw_number(seed, kind);
    if (draw_below(seed, 8) < changes)
        sample.type = RASAD_CHANGE;
    else if (draw_below(seed, 4) == 0) /* a decimal string */
        sample.length = (uint32_t)number_format(sample.number, sample.text);
    return sample;
}

/* The next sample's time. Woven samples may share one; a sequence's may not, since then the order
 * of arrival would count, which no merge can know. */
static int64_t draw_time(uint64_t *seed, unsigned kind, int64_t *latest_ns)
{
    static const uint64_t steps[] = {1, 1000, UINT64_C(1000000000), UINT64_C(200000000000)};
    int64_t step_ns = 1 + (int64_t)draw_below(seed, steps[draw_below(seed, COUNT(steps))]);

    if ((kind & DRAW_UNORDERED) != 0 && draw_below(seed, 8) == 0)
        return *latest_ns - step_ns;
    if ((kind & DRAW_HALVES) == 0 && draw_below(seed, 16) == 0)
        return *latest_ns;
    return *latest_ns += step_ns;
}

void draw_case(uint64_t seed, unsigned kind, unsigned parts, struct law_case *into)
{
    static const uint64_t shares[] = {0, 1, 1, 7};
    uint64_t texts = shares[draw_below(&seed, COUNT(shares))];
    uint64_t changes = shares[draw_below(&seed, COUNT(shares))];
    int64_t latest_ns = START_NS;

    into->count = draw_below(&seed, CASE_SAMPLES + 1);
    uint64_t cut = draw_below(&seed, into->count + 1);

    for (size_t i = 0; i < into->count; i++) {
        struct case_sample *sample = &into->samples[i];

        *sample = draw_sample(&seed, kind, texts, changes);
        sample->time_ns = draw_time(&seed, kind, &latest_ns);
        sample->part = (kind & DRAW_HALVES) != 0 ? i >= cut : draw_below(&seed, parts);
    }
    into->now_ns = latest_ns + (int64_t)draw_below(&seed, 3) * INT64_C(40000000000);
    into->seed = draw_bits(&seed);
}
