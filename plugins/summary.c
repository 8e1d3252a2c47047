/* SPDX-License-Identifier: Apache-2.0 */
/*
 * summary: the count and the sum of all samples, and quantiles of those in a sliding window.
 *
 * The window is a ring of 8 slices of time. A slice is a sketch with logarithmic buckets (DDSketch,
 * VLDB 2019): bucket i holds the sizes in (g^(i-1), g^i] with g = (1 + error) / (1 - error), whose
 * middle is no more than `error` away from any of them, relatively. So a quantile is within `error`
 * of a sample of that very rank.
 *
 * A slice has `slots` buckets for both signs together: positive ones fill them from the front,
 * negative ones from the back. What is too small to have a slot beside the largest counts as zero:
 * with samples of one sign that is less than e^-20 (2e-9) of the slice's largest, with both signs
 * at worst less than e^-10 (5e-5) of it. Where the slots end (the floor) follows from the largest
 * sizes alone and only ever rises, so a slice depends on what it has seen, not on the order.
 *
 * Merging is slice by slice: of two periods the later wins, equal ones add up bucket by bucket.
 * Hence it is associative and commutative, and halves merge into exactly what one sequence makes;
 * the fresh state has empty slices of no period. (Sums are doubles: exact for whole numbers below
 * 2^53.) Quantiles tell of the samples of the last 7/8 to 8/8 of the window and are NaN if there
 * are none; late samples, older than the ring, count in count and sum only.
 */
#include <float.h>
#include <rasad/plugin.h>

enum { SLICES = 8 };

#define RANGE 20.0          /* the slots cover sizes down to e^-RANGE of the largest */
#define NO_PERIOD INT64_MIN /* of a slice without samples */
#define NO_TOP (-(1 << 28)) /* of a sign without buckets; below any real one */
#define MOST_TOP (1 << 24)  /* beyond any real one: ln(DBL_MAX) / ln(g) is 354,891 at most */
#define FULL UINT32_MAX     /* a bucket's count stays there */

struct config {
    struct rasad_numbers quantiles;
    int64_t window;   /* ns */
    double error;     /* relative */
    double log_base;  /* ln(g) */
    int64_t slice_ns; /* what a slice covers */
    int32_t slots;    /* of a slice; even */
};

static const struct rasad_option options[] = {
    RASAD_OPTION_NUMBERS(struct config, quantiles, .preset = "0.5, 0.9, 0.99", .min = "0",
                         .max = "1", .help = "The quantiles to show, smallest first"),
    RASAD_OPTION_DURATION(struct config, window, .flags = RASAD_OPTION_RESTARTS, .preset = "10m",
                          .min = "1s",
                          .help = "How far back the quantiles look, less up to an eighth of it"),
    RASAD_OPTION_NUMBER(struct config, error, .flags = RASAD_OPTION_RESTARTS, .preset = "0.01",
                        .min = "0.001", .max = "0.25",
                        .help =
                            "How far off a quantile may be, relative to its value; a series takes "
                            "32 KiB at 0.01, and otherwise in proportion to 1 / error"),
};

struct slice {
    int64_t period; /* its time / slice_ns, rounded down */
    double low;     /* the least sample */
    double high;    /* the greatest */
    uint64_t zero;  /* how many samples were zero, or below the floor */
    int32_t top[2]; /* the largest bucket that is in use, positive and negative */
    uint32_t slots[];
};

/* A state: this, then SLICES slices. */
struct state {
    uint64_t count;
    double sum;
};

static bool summary_configure(void *config, struct rasad_error *error)
{
    struct config *c = config;

    for (uint64_t i = 1; i < c->quantiles.count; i++) {
        if (c->quantiles.at[i] <= c->quantiles.at[i - 1])
            return rasad_fail(error,
                              "quantiles must rise, but %.15g follows %.15g (write the smallest "
                              "first)",
                              c->quantiles.at[i], c->quantiles.at[i - 1]);
    }
    c->log_base = log1p(c->error) - log1p(-c->error);
    c->slice_ns = c->window / SLICES;
    c->slots = 2 * (int32_t)ceil(RANGE / 2 / c->log_base) + 2;
    return true;
}

static size_t summary_slice_size(const struct config *c)
{
    return sizeof(struct slice) + (size_t)c->slots * sizeof(uint32_t);
}

static size_t summary_state_size(const void *config)
{
    return sizeof(struct state) + SLICES * summary_slice_size(config);
}

/* Slice `i` of a state, to write in it. */
static struct slice *summary_slice(const struct config *c, struct state *s, size_t i)
{
    return (void *)((char *)(s + 1) + i * summary_slice_size(c));
}

/* Slice `i` of a state, to look at it. */
static const struct slice *summary_slice_of(const struct config *c, const struct state *s, size_t i)
{
    return (const void *)((const char *)(s + 1) + i * summary_slice_size(c));
}

static void summary_slice_begin(const struct config *c, struct slice *slice, int64_t period)
{
    memset(slice, 0, summary_slice_size(c));
    slice->period = period;
    slice->low = INFINITY;
    slice->high = -INFINITY;
    slice->top[0] = slice->top[1] = NO_TOP;
}

static void summary_init(const void *config, void *state)
{
    struct state *s = state;

    *s = (struct state){0};
    for (size_t i = 0; i < SLICES; i++)
        summary_slice_begin(config, summary_slice(config, s, i), NO_PERIOD);
}

/* The smallest bucket that has a slot: such that those up to top[0] and to top[1] fit in. */
static int32_t summary_floor(const struct config *c, const int32_t top[2])
{
    int32_t alone = (top[0] > top[1] ? top[0] : top[1]) - c->slots + 1;
    int32_t both = top[0] + top[1] + 2 - c->slots;

    both = (both + (both > 0)) / 2; /* rounded up */
    return alone > both ? alone : both;
}

/* The slot of bucket floor + k. */
static int32_t summary_slot(const struct config *c, int sign, int32_t k)
{
    return sign == 0 ? k : c->slots - 1 - k;
}

/* Makes room up to these tops: what falls below the new floor becomes zero, the rest moves. */
static void summary_slice_raise(const struct config *c, struct slice *slice, const int32_t top[2])
{
    int32_t raised[2] = {top[0] > slice->top[0] ? top[0] : slice->top[0],
                         top[1] > slice->top[1] ? top[1] : slice->top[1]};
    int32_t floor = summary_floor(c, slice->top);
    int32_t step = summary_floor(c, raised) - floor;

    for (int sign = 0; sign < 2 && step > 0; sign++) {
        for (int32_t k = 0; k <= slice->top[sign] - floor; k++) {
            uint32_t *slot = &slice->slots[summary_slot(c, sign, k)];
            uint32_t count = *slot;

            *slot = 0;
            if (k < step)
                slice->zero += count;
            else
                slice->slots[summary_slot(c, sign, k - step)] = count;
        }
    }
    slice->top[0] = raised[0];
    slice->top[1] = raised[1];
}

/* Counts so many into a bucket, which must not be above its top. */
static void summary_slice_count(const struct config *c, struct slice *slice, int sign,
                                int32_t bucket, uint32_t count)
{
    int32_t k = bucket - summary_floor(c, slice->top);
    uint32_t *slot;

    if (k < 0) {
        slice->zero += count;
        return;
    }
    slot = &slice->slots[summary_slot(c, sign, k)];
    *slot = FULL - *slot < count ? FULL : *slot + count;
}

static void summary_slice_add(const struct config *c, struct slice *slice, double number)
{
    int32_t top[2] = {NO_TOP, NO_TOP};
    int sign = number < 0;

    slice->low = fmin(slice->low, number);
    slice->high = fmax(slice->high, number);
    if (fabs(number) < DBL_MIN) {
        slice->zero++;
        return;
    }
    top[sign] = (int32_t)ceil(log(fabs(number)) / c->log_base);
    summary_slice_raise(c, slice, top);
    summary_slice_count(c, slice, sign, top[sign], 1);
}

/* The period that a time lies in; rounded down, also before 1970. */
static int64_t summary_period(const struct config *c, int64_t time_ns)
{
    return time_ns / c->slice_ns - (time_ns % c->slice_ns < 0);
}

/* Where in the ring a period has its slice. */
static size_t summary_place(int64_t period)
{
    return (size_t)((period % SLICES + SLICES) % SLICES);
}

static bool summary_update(const void *config, void *state, const struct rasad_value *value,
                           struct rasad_error *error)
{
    const struct config *c = config;
    struct state *s = state;
    int64_t period = summary_period(c, value->time_ns);
    struct slice *slice = summary_slice(c, s, summary_place(period));

    if (value->type == RASAD_CHANGE)
        return rasad_fail(error, "a summary can't be changed by \"add\" (send the value)");
    if (value->type != RASAD_NUMBER)
        return rasad_fail(error, "wants a number, got \"%.*s\"", (int)value->length, value->text);
    if (!isfinite(s->sum + value->number))
        return rasad_fail(error, "%g makes the sum infinite", value->number);
    s->count++;
    s->sum += value->number;
    if (slice->period < period)
        summary_slice_begin(c, slice, period);
    if (slice->period == period)
        summary_slice_add(c, slice, value->number);
    return true;
}

static void summary_slice_merge(const struct config *c, struct slice *a, const struct slice *b)
{
    int32_t floor = summary_floor(c, b->top);

    a->low = fmin(a->low, b->low);
    a->high = fmax(a->high, b->high);
    a->zero += b->zero;
    summary_slice_raise(c, a, b->top);
    for (int sign = 0; sign < 2; sign++) {
        for (int32_t k = 0; k <= b->top[sign] - floor; k++)
            summary_slice_count(c, a, sign, floor + k, b->slots[summary_slot(c, sign, k)]);
    }
}

static void summary_merge(const void *config, void *into, const void *from)
{
    struct state *a = into;
    const struct state *b = from;

    a->count += b->count;
    a->sum += b->sum;
    for (size_t i = 0; i < SLICES; i++) {
        struct slice *mine = summary_slice(config, a, i);
        const struct slice *theirs = summary_slice_of(config, b, i);

        if (theirs->period > mine->period)
            memcpy(mine, theirs, summary_slice_size(config));
        else if (theirs->period == mine->period && theirs->period != NO_PERIOD)
            summary_slice_merge(config, mine, theirs);
    }
}

/* The slices that count now, as one sketch. */
struct view {
    const struct slice *slices[SLICES];
    size_t count;
    uint64_t samples;
    double low, high;
    int32_t floor, top; /* over both signs */
};

static struct view summary_look(const struct config *c, const struct state *s, int64_t now_ns)
{
    struct view view = {.low = INFINITY, .high = -INFINITY, .floor = MOST_TOP, .top = NO_TOP};
    int64_t oldest = summary_period(c, now_ns) - SLICES + 1;

    for (size_t i = 0; i < SLICES; i++) {
        const struct slice *slice = summary_slice_of(c, s, i);
        int32_t floor = summary_floor(c, slice->top);
        int32_t top = slice->top[slice->top[1] > slice->top[0]];

        if (slice->period < oldest)
            continue;
        view.slices[view.count++] = slice;
        view.low = fmin(view.low, slice->low);
        view.high = fmax(view.high, slice->high);
        view.floor = top > NO_TOP && floor < view.floor ? floor : view.floor;
        view.top = top > view.top ? top : view.top;
        view.samples += slice->zero;
        for (int32_t k = 0; k < c->slots; k++)
            view.samples += slice->slots[k];
    }
    return view;
}

/* How many samples of the view are in this bucket. */
static uint64_t summary_view_count(const struct config *c, const struct view *view, int sign,
                                   int32_t bucket)
{
    uint64_t count = 0;

    for (size_t i = 0; i < view->count; i++) {
        const struct slice *slice = view->slices[i];
        int32_t k = bucket - summary_floor(c, slice->top);

        if (k >= 0 && bucket <= slice->top[sign])
            count += slice->slots[summary_slot(c, sign, k)];
    }
    return count;
}

/* A walk over the view's buckets by rising value. */
struct walk {
    const struct config *config;
    const struct view *view;
    struct rasad_writer *writer;
    uint64_t next; /* the quantile that is to be found next */
    uint64_t seen; /* samples up to here */
};

/* Passes `count` samples of about this value, and writes the quantiles that lie among them. */
static void summary_walk(struct walk *walk, uint64_t count, double value)
{
    const struct rasad_numbers *quantiles = &walk->config->quantiles;

    walk->seen += count;
    value = fmax(walk->view->low, fmin(walk->view->high, value));
    for (; walk->next < quantiles->count; walk->next++) {
        double quantile = quantiles->at[walk->next];
        /* The nearest rank, from 1; 0.07 * 100 must be 7, not 8. */
        double rank = ceil(quantile * (double)walk->view->samples * (1 - 1e-12));

        if (rank > (double)walk->seen || walk->seen == 0)
            return;
        rasad_write_quantile(walk->writer, quantile, value);
    }
}

/* The middle of a bucket: 2 g^i / (g + 1), which is g^i (1 - error). */
static double summary_middle(const struct config *c, int32_t bucket)
{
    return fmin(DBL_MAX, exp(bucket * c->log_base + log1p(-c->error)));
}

static void summary_render(const void *config, const void *state, struct rasad_writer *writer)
{
    const struct config *c = config;
    const struct state *s = state;
    const struct view view = summary_look(c, s, writer->now_ns);
    struct walk walk = {.config = c, .view = &view, .writer = writer};
    uint64_t zero = 0;

    for (int32_t i = view.top; i >= view.floor; i--)
        summary_walk(&walk, summary_view_count(c, &view, 1, i), -summary_middle(c, i));
    for (size_t i = 0; i < view.count; i++)
        zero += view.slices[i]->zero;
    summary_walk(&walk, zero, 0);
    for (int32_t i = view.floor; i <= view.top; i++)
        summary_walk(&walk, summary_view_count(c, &view, 0, i), summary_middle(c, i));
    for (; walk.next < c->quantiles.count; walk.next++)
        rasad_write_quantile(writer, c->quantiles.at[walk.next], NAN);
    rasad_write_totals(writer, s->count, s->sum);
}

static bool summary_verify(const void *config, const void *state, size_t size)
{
    if (size != summary_state_size(config))
        return false;
    for (size_t i = 0; i < SLICES; i++) {
        const struct slice *slice = summary_slice_of(config, state, i);

        if (slice->period != NO_PERIOD && summary_place(slice->period) != i)
            return false;
        for (int sign = 0; sign < 2; sign++) {
            if (slice->top[sign] != NO_TOP &&
                (slice->top[sign] < -MOST_TOP || slice->top[sign] > MOST_TOP))
                return false;
        }
    }
    return true;
}

RASAD_PUBLIC const struct rasad_plugin rasad_plugin = {
    RASAD_PLUGIN_HEAD,
    .flags = RASAD_COMMUTATIVE,
    .kind = RASAD_SUMMARY,
    .state_version = 1,
    .name = "summary",
    .version = "1.0",
    .help = "Count, sum and recent quantiles of the samples",
    RASAD_OPTIONS(options),
    .config_size = sizeof(struct config),
    .configure = summary_configure,
    .state_size = summary_state_size,
    .init = summary_init,
    .update = summary_update,
    .merge = summary_merge,
    .render = summary_render,
    .verify = summary_verify,
};
