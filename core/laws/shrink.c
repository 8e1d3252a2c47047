/* SPDX-License-Identifier: Apache-2.0 */
#include "laws/shrink.h"

#include <math.h>
#include <rasad/plugin.h>
#include <string.h>

#include "base/number.h"

struct search {
    struct law_case *best;
    shrink_test *breaks;
    void *context;
    bool give_up;
};

/* Takes a smaller case if it will do. */
static bool take(struct search *search, const struct law_case *smaller)
{
    if (search->give_up || !search->breaks(search->context, smaller, &search->give_up))
        return false;
    *search->best = *smaller;
    return true;
}

static struct law_case without(const struct law_case *at, size_t from, size_t count)
{
    struct law_case left = *at;

    memmove(&left.samples[from], &left.samples[from + count],
            (at->count - from - count) * sizeof *left.samples);
    left.count -= count;
    return left;
}

/* Leaves out runs of samples, long ones first. */
static void drop_samples(struct search *search)
{
    for (size_t run = search->best->count; run > 0; run /= 2) {
        for (size_t from = 0; from + run <= search->best->count && !search->give_up;) {
            struct law_case smaller = without(search->best, from, run);

            if (!take(search, &smaller))
                from += run;
        }
    }
}

/* Sets a sample's number, and its text if it is a decimal string. */
static void set_number(struct case_sample *sample, double number)
{
    sample->number = number;
    if (sample->length > 0)
        sample->length = (uint32_t)number_format(number, sample->text);
}

/* The k-th way to make a number smaller, leaps first. */
static double make_smaller(double number, int k)
{
    switch (k) {
    case 0:
        return 0;
    case 1:
        return copysign(1, number);
    case 2:
        return fabs(number);
    case 3:
        return trunc(number);
    case 4:
        return trunc(number / 1024);
    case 5:
        return trunc(number / 2);
    default:
        return number - copysign(1, number);
    }
}

static void shrink_number(struct search *search, size_t i)
{
    for (int k = 0; k <= 6;) {
        struct law_case smaller = *search->best;
        double before = smaller.samples[i].number, after = make_smaller(before, k);

        set_number(&smaller.samples[i], after);
        if (!(fabs(after) < fabs(before) || after > before) || !take(search, &smaller))
            k++;
    }
}

static void shrink_text(struct search *search, size_t i)
{
    for (uint32_t length = 0; length < search->best->samples[i].length; length++) {
        struct law_case smaller = *search->best;
        struct case_sample *sample = &smaller.samples[i];

        if ((sample->text[length] & 0xc0) == 0x80)
            continue; /* in the middle of a letter */
        sample->length = length;
        memset(sample->text + length, 0, sizeof sample->text - length);
        if (take(search, &smaller))
            return;
    }
}

/* A number of a decimal string or a change, and a sample without exemplar or seed. */
static void make_plain(struct search *search, size_t i)
{
    struct law_case smaller = *search->best;
    struct case_sample *sample = &smaller.samples[i];

    sample->has_exemplar = false;
    sample->seed = 0;
    (void)take(search, &smaller);
    smaller = *search->best;
    if (sample->type == RASAD_TEXT || (sample->type == RASAD_NUMBER && sample->length == 0))
        return;
    sample->type = RASAD_NUMBER;
    sample->length = 0;
    memset(sample->text, 0, sizeof sample->text);
    (void)take(search, &smaller);
}

/* Times a nanosecond apart, or a second, in the order that they have. */
static void make_regular(struct search *search, int64_t step_ns)
{
    struct law_case smaller = *search->best;
    int64_t first_ns = smaller.count > 0 ? smaller.samples[0].time_ns : smaller.now_ns;

    first_ns -= first_ns % INT64_C(1000000000);
    for (size_t i = 0; i < smaller.count; i++)
        smaller.samples[i].time_ns = first_ns + (int64_t)i * step_ns;
    smaller.now_ns = first_ns + (int64_t)smaller.count * step_ns;
    (void)take(search, &smaller);
}

void shrink_case(struct law_case *at, shrink_test *breaks, void *context)
{
    struct search search = {.best = at, .breaks = breaks, .context = context};

    drop_samples(&search);
    for (size_t i = 0; i < at->count && !search.give_up; i++) {
        make_plain(&search, i);
        if (at->samples[i].type == RASAD_TEXT)
            shrink_text(&search, i);
        else
            shrink_number(&search, i);
    }
    make_regular(&search, INT64_C(1));
    make_regular(&search, INT64_C(1000000000));
    drop_samples(&search);
}
