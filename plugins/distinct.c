/* SPDX-License-Identifier: Apache-2.0 */
/*
 * distinct: how many different values a series has seen, numbers and texts alike. A HyperLogLog
 * (Flajolet, Fusy, Gandouet, Meunier: "HyperLogLog", AofA 2007) with 2^precision registers: a
 * value's hash picks a register and offers it a rank, which half of all values reach for 1, a
 * quarter for 2, and so on; the register keeps the largest. The standard error is
 * 1.04 / sqrt(2^precision), 1.6 % by default.
 *
 * States merge register by register by the larger one. So merging is exact in any order, a fresh
 * state is neutral with its zeros, and equal sets make equal bytes, whichever way they came: only
 * what the registers tell is an estimate, hence no RASAD_APPROXIMATE. It is a gauge although it
 * never falls, because it is the size of a set and no sum of events: the sizes of two agents' sets
 * don't add up to that of both (leave out the agent label for that).
 *
 * A number counts by its value, so 1, 1.0 and "1" are one; but a whole number in a string that
 * is beyond 2^53, where doubles have gaps, counts by its digits. Other texts count by their bytes.
 */
#include <rasad/plugin.h>

enum { MOST_RANKS = 64 };

struct config {
    int64_t precision;
};

static const struct rasad_option options[] = {
    RASAD_OPTION_INTEGER(struct config, precision, .flags = RASAD_OPTION_RESTARTS, .preset = "12",
                         .min = "4", .max = "16",
                         .help = "How exact it is: 2^precision bytes a series, and a standard "
                                 "error of 1.04 / sqrt(2^precision)"),
};

static size_t distinct_state_size(const void *config)
{
    return (size_t)1 << ((const struct config *)config)->precision;
}

static void distinct_init(const void *config, void *state)
{
    memset(state, 0, distinct_state_size(config));
}

/* FNV-1a (Fowler, Noll, Vo), whose bits MurmurHash3's fmix64 (Appleby, public domain) then mixes.
 * `type` comes first, lest a text be taken for a number that has the same bytes. */
static uint64_t distinct_hash(uint32_t type, const void *bytes, size_t length)
{
    const unsigned char *at = bytes;
    uint64_t hash = (UINT64_C(0xcbf29ce484222325) ^ type) * UINT64_C(0x100000001b3);

    for (size_t i = 0; i < length; i++)
        hash = (hash ^ at[i]) * UINT64_C(0x100000001b3);
    hash = (hash ^ hash >> 33) * UINT64_C(0xff51afd7ed558ccd);
    hash = (hash ^ hash >> 33) * UINT64_C(0xc4ceb9fe1a85ec53);
    return hash ^ hash >> 33;
}

static uint64_t distinct_hash_value(const struct rasad_value *value)
{
    double number = value->number + 0.0; /* makes 0 of -0 */
    bool digits = fabs(number) >= 0x1p53 && value->length > 0 &&
                  strspn(value->text, "-0123456789") == value->length;

    if (value->type == RASAD_TEXT || digits)
        return distinct_hash(RASAD_TEXT, value->text, value->length);
    return distinct_hash(RASAD_NUMBER, &number, sizeof number);
}

static bool distinct_update(const void *config, void *state, const struct rasad_value *value,
                            struct rasad_error *error)
{
    int precision = (int)((const struct config *)config)->precision;
    unsigned char *slot = state, rank;
    uint64_t hash;

    if (value->type != RASAD_NUMBER && value->type != RASAD_TEXT)
        return rasad_fail(error, "wants a value to tell from others, not a change");
    hash = distinct_hash_value(value);
    slot += hash >> (64 - precision);
    /* The 1 behind the hash's last bit ends the run of zeros at the latest. */
    hash = hash << precision | UINT64_C(1) << (precision - 1);
    rank = (unsigned char)(1 + __builtin_clzll(hash));
    if (rank > *slot)
        *slot = rank;
    return true;
}

static void distinct_merge(const void *config, void *into, const void *from)
{
    unsigned char *a = into;
    const unsigned char *b = from;

    for (size_t i = 0; i < distinct_state_size(config); i++)
        a[i] = b[i] > a[i] ? b[i] : a[i];
}

/* x + x^2 + 2 x^4 + 4 x^8 + …: what registers that are still 0, a share of x, stand for. */
static double distinct_sigma(double x)
{
    double sum = x, before = -1;

    for (double power = 1; x < 1 && sum != before; power *= 2) {
        x *= x;
        before = sum;
        sum += x * power;
    }
    return x < 1 ? sum : INFINITY;
}

/* Likewise for registers at their last rank, all but a share of x. */
static double distinct_tau(double x)
{
    double sum = 1 - x, before = -1;

    for (double power = 0.5; x > 0 && sum != before; power /= 2) {
        x = sqrt(x);
        before = sum;
        sum -= (1 - x) * (1 - x) * power;
    }
    return x > 0 ? sum / 3 : 0;
}

/* The improved raw estimator, good over the whole range without thresholds, tables of bias or
 * linear counting: O. Ertl, "New cardinality estimation algorithms for HyperLogLog sketches",
 * arXiv 1702.01284 (2017), algorithm 6. It rises with each register. */
static void distinct_render(const void *config, const void *state, struct rasad_writer *writer)
{
    size_t size = distinct_state_size(config);
    int last = 65 - (int)((const struct config *)config)->precision;
    uint64_t counts[MOST_RANKS] = {0};
    double m = (double)size, sum;

    for (size_t i = 0; i < size; i++)
        counts[((const unsigned char *)state)[i]]++;
    sum = m * distinct_tau(1 - (double)counts[last] / m);
    for (int rank = last - 1; rank > 0; rank--)
        sum = (sum + (double)counts[rank]) / 2;
    sum += m * distinct_sigma((double)counts[0] / m);
    rasad_write_gauge(writer, round(m * m / (2 * log(2) * sum)));
}

static bool distinct_verify(const void *config, const void *state, size_t size)
{
    int last = 65 - (int)((const struct config *)config)->precision;

    if (size != distinct_state_size(config))
        return false;
    for (size_t i = 0; i < size; i++) {
        if (((const unsigned char *)state)[i] > last)
            return false;
    }
    return true;
}

RASAD_PUBLIC const struct rasad_plugin rasad_plugin = {
    RASAD_PLUGIN_HEAD,
    .flags = RASAD_COMMUTATIVE,
    .kind = RASAD_GAUGE,
    .state_version = 1,
    .name = "distinct",
    .version = "1.0",
    .help = "How many different values a series has seen, about",
    RASAD_OPTIONS(options),
    .config_size = sizeof(struct config),
    .state_size = distinct_state_size,
    .init = distinct_init,
    .update = distinct_update,
    .merge = distinct_merge,
    .render = distinct_render,
    .verify = distinct_verify,
};
