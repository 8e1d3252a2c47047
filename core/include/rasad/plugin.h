/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * rasad/plugin.h: the only header that a metric plugin needs, and the whole of its contract.
 *
 * A metric plugin is an aggregate: plain functions over a plain block of bytes, the *state* of one
 * series. The host owns that block, and time, threads, labels, storage, limits and output formats
 * with it; a plugin is arithmetic over bytes that it is lent. It exports one constant struct,
 * `rasad_plugin`, and needs no symbol of the host: whatever it may call is an inline function
 * below, or comes as a function pointer in a struct that it is handed. It links libc and libm only.
 *
 * Rules for every function of a plugin:
 *   - Threads: any thread may call it, and several at once, each with a state of its own. A config
 *     is shared and constant once configure() has returned.
 *   - It does not block, allocate, start threads, touch files, the environment or globals. Only
 *     configure() may allocate (and then release() frees).
 *   - It keeps no address that it is handed beyond its return.
 *   - A state holds no pointer and no descriptor, and means the same wherever its bytes are copied
 *     or moved to. It is aligned to 8 bytes.
 *   - Time and randomness come in as arguments, so the same samples always give the same state.
 *
 * Laws, which the host's tests check:
 *   - merge() is associative, and init() is its neutral element; with RASAD_COMMUTATIVE it is
 *     commutative too;
 *   - one state updated with a whole sequence renders as two halves, updated and merged, do
 *     (with RASAD_APPROXIMATE: within the plugin's stated bound);
 *   - a value that update() refuses changes no byte.
 *
 * Compatibility: this is ABI 1, and it is frozen. A struct that carries its size may grow, at its
 * end only: rasad_plugin, rasad_option (by option_size), rasad_point, rasad_value and rasad_writer.
 * The host reads no more of the first three than the plugin says is there, and takes what is
 * missing for zero; a plugin that reads a member of the last two which this header got later looks
 * at their size first. All other structs never change. Enums are 32 bits wide and get new values
 * only.
 *
 * C++ (20; 17 as an extension of compilers): members are initialised in the order in which they
 * stand below, an option's words in that of rasad_option_words; RASAD_PUBLIC is left out, since the
 * declaration of `rasad_plugin` below has it.
 */
#include <math.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#ifdef __cplusplus
extern "C" {
#endif

#define RASAD_ABI 1                      /* raised when a plugin must be compiled anew */
#define RASAD_MAGIC UINT32_C(0x44415352) /* "RSAD" in memory order, little end first */

/* Marks the one exported symbol; compile everything else with -fvisibility=hidden. */
#define RASAD_PUBLIC __attribute__((visibility("default")))

/* ---- Errors -------------------------------------------------------------------------------- */

/* Why something was refused: one sentence for a user, without a line feed. Owned by the caller. */
struct rasad_error {
    char text[512]; /* NUL-terminated; a longer text is cut */
};

/* Fills `error` (which may be NULL) in the manner of printf and returns false, for `return`. */
__attribute__((format(printf, 2, 3))) static inline bool rasad_fail(struct rasad_error *error,
                                                                    const char *format, ...)
{
    va_list arguments;

    if (error == NULL)
        return false;
    va_start(arguments, format);
    (void)vsnprintf(error->text, sizeof error->text, format, arguments);
    va_end(arguments);
    return false;
}

/* ---- Samples ------------------------------------------------------------------------------- */

/* What a sample carries. Values of 32 bits; a host may add further ones, so refuse the unknown. */
enum {
    RASAD_NUMBER = 1, /* a JSON number or a decimal string: `number` is set */
    RASAD_CHANGE = 2, /* {"add": x}: `number` is the difference */
    RASAD_TEXT = 3,   /* any other string: `text` and `length` are set */
};

/* A label of an exemplar: NUL-terminated UTF-8. */
struct rasad_label {
    const char *name;
    const char *value;
};

/* An example behind a sample, such as a trace id (OpenMetrics 1.0 § Exemplars). */
struct rasad_exemplar {
    const struct rasad_label *labels;
    uint64_t label_count;
};

/* One sample, as update() sees it. Lent for the call. */
struct rasad_value {
    uint32_t size;    /* of this struct, as the host knows it */
    uint32_t type;    /* RASAD_NUMBER, RASAD_CHANGE or RASAD_TEXT */
    double number;    /* finite; 0 for RASAD_TEXT */
    const char *text; /* UTF-8, NUL-terminated, may hold NULs before that; the text as it came, of a
                         decimal string too; "" for a JSON number; never NULL */
    uint64_t length;  /* of text, in bytes, without the last NUL */
    int64_t time_ns;  /* when the sample was taken: nanoseconds since 1970 UTC, never far ahead */
    uint64_t seed;    /* random bits that replay with the sample; the only randomness there is */
    const struct rasad_exemplar *exemplar; /* NULL if the sample has none */
};

/* ---- Options ------------------------------------------------------------------------------- */

/* What an option's value is, in the conf and in the config struct. */
enum {
    RASAD_OPTION_TYPE_NUMBER = 1,  /* double */
    RASAD_OPTION_TYPE_INTEGER = 2, /* int64_t */
    RASAD_OPTION_TYPE_BOOL = 3,    /* bool */
    RASAD_OPTION_TYPE_TEXT = 4,    /* const char *: NUL-terminated UTF-8, never NULL */
    RASAD_OPTION_TYPE_DURATION =
        5, /* int64_t, nanoseconds; written "500ms", "10s", "5m", "2h", "1d" */
    RASAD_OPTION_TYPE_NUMBERS = 6, /* struct rasad_numbers; written { 1, 2.5 } */
    RASAD_OPTION_TYPE_TEXTS = 7,   /* struct rasad_texts; written { "a", "b" } */
};

/* A list of numbers in a config struct. Owned by the host, as long as the config. */
struct rasad_numbers {
    const double *at;
    uint64_t count;
};

/* A list of texts in a config struct. Owned by the host, as long as the config. */
struct rasad_texts {
    const char *const *at;
    uint64_t count;
};

/*
 * One row of a plugin's option table. From it the host builds the conf schema, checks values and
 * bounds, writes documentation, and puts the value at `offset` in the config struct.
 */
struct rasad_option {
    const char *name;   /* as written in the conf: [a-z][a-z0-9_]* */
    const char *help;   /* one line for the manual */
    const char *preset; /* the value when the conf has none, as written in the conf without braces
                           or quotes ("0.5", "10m", "1, 2, 3"); NULL: the conf must have one */
    const char *min;    /* the least number or duration allowed, as written; NULL: no bound */
    const char *max;    /* the greatest one; NULL: no bound. Both bound every number of a list. */
    uint32_t type;      /* RASAD_OPTION_TYPE_… */
    uint32_t offset;    /* of the member in the config struct */
    uint32_t flags;     /* RASAD_OPTION_RESTARTS or 0 */
    uint32_t reserved;  /* 0 */
};

/* flags of an option */
enum {
    /* States that were made under another value mean something else: when a reload changes it, the
     * metric's series begin anew. Without it a state goes on as it is. */
    RASAD_OPTION_RESTARTS = 1,
};

/* Rows: RASAD_OPTION_NUMBER(struct config, ceiling, .preset = "inf", .help = "Refuse above this")
 */
#ifdef __cplusplus
/* What stands in a row's brackets. C++ wants it in the order of these members. */
struct rasad_option_words {
    uint32_t flags = 0;
    const char *preset = NULL;
    const char *min = NULL;
    const char *max = NULL;
    const char *help = NULL;
};

constexpr struct rasad_option rasad_option_row(const char *name, uint32_t type, size_t offset,
                                               const struct rasad_option_words &words)
{
    return {name, words.help,       words.preset, words.min, words.max,
            type, (uint32_t)offset, words.flags,  0};
}

#define RASAD_OPTION_ROW(Struct, member, Type, ...)                                                \
    rasad_option_row(#member, (Type), offsetof(Struct, member), {__VA_ARGS__})
#else
#define RASAD_OPTION_ROW(Struct, member, Type, ...)                                                \
    {                                                                                              \
        .name = #member, __VA_ARGS__, .type = (Type), .offset = offsetof(Struct, member)           \
    }
#endif
#define RASAD_OPTION_NUMBER(Struct, member, ...)                                                   \
    RASAD_OPTION_ROW(Struct, member, RASAD_OPTION_TYPE_NUMBER, __VA_ARGS__)
#define RASAD_OPTION_INTEGER(Struct, member, ...)                                                  \
    RASAD_OPTION_ROW(Struct, member, RASAD_OPTION_TYPE_INTEGER, __VA_ARGS__)
#define RASAD_OPTION_BOOL(Struct, member, ...)                                                     \
    RASAD_OPTION_ROW(Struct, member, RASAD_OPTION_TYPE_BOOL, __VA_ARGS__)
#define RASAD_OPTION_TEXT(Struct, member, ...)                                                     \
    RASAD_OPTION_ROW(Struct, member, RASAD_OPTION_TYPE_TEXT, __VA_ARGS__)
#define RASAD_OPTION_DURATION(Struct, member, ...)                                                 \
    RASAD_OPTION_ROW(Struct, member, RASAD_OPTION_TYPE_DURATION, __VA_ARGS__)
#define RASAD_OPTION_NUMBERS(Struct, member, ...)                                                  \
    RASAD_OPTION_ROW(Struct, member, RASAD_OPTION_TYPE_NUMBERS, __VA_ARGS__)
#define RASAD_OPTION_TEXTS(Struct, member, ...)                                                    \
    RASAD_OPTION_ROW(Struct, member, RASAD_OPTION_TYPE_TEXTS, __VA_ARGS__)

/* The table in the plugin struct: RASAD_OPTIONS(options), for `static const struct rasad_option
 * options[]`. */
#define RASAD_OPTIONS(table) .options = (table), .option_count = sizeof(table) / sizeof *(table)

/* ---- Output -------------------------------------------------------------------------------- */

/* What a point is. Values of 32 bits. */
enum {
    RASAD_POINT_GAUGE = 1,    /* value */
    RASAD_POINT_COUNTER = 2,  /* value: not NaN, not negative; or, when it is whole, count */
    RASAD_POINT_BUCKET = 3,   /* bound (inclusive) and count (cumulative), by rising bound */
    RASAD_POINT_QUANTILE = 4, /* bound (the quantile, 0 to 1) and value, by rising quantile */
    RASAD_POINT_TOTALS = 5,   /* count and value (the sum) of a histogram or summary, once, last */
    RASAD_POINT_NATIVE = 6,   /* native: a native histogram, before the totals */
    RASAD_POINT_LABEL = 7,    /* what follows belongs to the sub-series with this further label */
};

/* A run of neighbouring buckets in a native histogram. */
struct rasad_span {
    int32_t offset;  /* buckets skipped since the last run; in the first run its first index */
    uint32_t length; /* buckets in this run */
};

/*
 * A native histogram (Prometheus native histograms, schema -4 to 8): bucket i of schema n holds the
 * values in (2^(2^-n * (i-1)), 2^(2^-n * i)].
 */
struct rasad_native {
    int32_t schema;
    uint32_t span_count[2];            /* positive, negative */
    const struct rasad_span *spans[2]; /* positive, negative */
    const uint64_t *counts[2];         /* one a bucket of the spans, not cumulative */
    double zero_threshold;
    uint64_t zero_count;
};

/* One point, as render() writes it. Lent for the call. */
struct rasad_point {
    uint32_t size; /* of this struct, as the plugin knows it */
    uint32_t type; /* RASAD_POINT_… */
    double value;
    double bound;
    uint64_t count;
    uint64_t whole; /* of a counter: 1 if `count` holds its value, exact beyond 2^53 */
    struct rasad_label label;
    const struct rasad_native *native;
    const struct rasad_exemplar *exemplar; /* of a counter or a bucket, or NULL */
};

/*
 * Where render() puts its points. The host checks them against the plugin's kind, adds names and
 * labels, and writes every format; a series whose points don't fit is left out and counted.
 */
struct rasad_writer {
    uint32_t size; /* of this struct, as the host knows it */
    uint32_t reserved;
    int64_t now_ns; /* the time of rendering: nanoseconds since 1970 UTC */
    void (*write)(struct rasad_writer *writer, const struct rasad_point *point);
};

/* A point of this type with all else zero; the functions below fill and write it. */
static inline struct rasad_point rasad_point_make(uint32_t type)
{
    struct rasad_point point;

    memset(&point, 0, sizeof point);
    point.size = sizeof point;
    point.type = type;
    return point;
}

/* The value of a gauge; NaN is allowed. */
static inline void rasad_write_gauge(struct rasad_writer *writer, double value)
{
    struct rasad_point point = rasad_point_make(RASAD_POINT_GAUGE);

    point.value = value;
    writer->write(writer, &point);
}

/* The value of a counter. */
static inline void rasad_write_counter(struct rasad_writer *writer, double value)
{
    struct rasad_point point = rasad_point_make(RASAD_POINT_COUNTER);

    point.value = value;
    writer->write(writer, &point);
}

/* The value of a counter of whole things, exact up to 2^64 - 1. */
static inline void rasad_write_count(struct rasad_writer *writer, uint64_t count)
{
    struct rasad_point point = rasad_point_make(RASAD_POINT_COUNTER);

    point.value = (double)count;
    point.count = count;
    point.whole = 1;
    writer->write(writer, &point);
}

/* A bucket: how many values were at most `bound`. By rising bound; the host adds +Inf from the
 * totals if the last one isn't it. */
static inline void rasad_write_bucket(struct rasad_writer *writer, double bound, uint64_t count)
{
    struct rasad_point point = rasad_point_make(RASAD_POINT_BUCKET);

    point.bound = bound;
    point.count = count;
    writer->write(writer, &point);
}

/* A quantile of a summary, by rising quantile; NaN where there were no recent values. */
static inline void rasad_write_quantile(struct rasad_writer *writer, double quantile, double value)
{
    struct rasad_point point = rasad_point_make(RASAD_POINT_QUANTILE);

    point.bound = quantile;
    point.value = value;
    writer->write(writer, &point);
}

/* The count and the sum of a histogram or a summary, after its buckets or quantiles. */
static inline void rasad_write_totals(struct rasad_writer *writer, uint64_t count, double sum)
{
    struct rasad_point point = rasad_point_make(RASAD_POINT_TOTALS);

    point.count = count;
    point.value = sum;
    writer->write(writer, &point);
}

/* A native histogram, beside or without classic buckets, before the totals. */
static inline void rasad_write_native(struct rasad_writer *writer,
                                      const struct rasad_native *native)
{
    struct rasad_point point = rasad_point_make(RASAD_POINT_NATIVE);

    point.native = native;
    writer->write(writer, &point);
}

/* Begins the sub-series that has this label beside the series' own: what follows belongs to it. */
static inline void rasad_write_label(struct rasad_writer *writer, const char *name,
                                     const char *value)
{
    struct rasad_point point = rasad_point_make(RASAD_POINT_LABEL);

    point.label.name = name;
    point.label.value = value;
    writer->write(writer, &point);
}

/* ---- The plugin ---------------------------------------------------------------------------- */

/* What a plugin's families are to a scraper. Values of 32 bits. */
enum {
    RASAD_GAUGE = 1,
    RASAD_COUNTER = 2,
    RASAD_HISTOGRAM = 3,
    RASAD_SUMMARY = 4,
};

/* flags */
enum {
    RASAD_COMMUTATIVE = 1, /* merge(a, b) renders as merge(b, a) does */
    RASAD_APPROXIMATE = 2, /* the laws hold within the bound that the plugin states */
};

/* What the plugin exports under the name `rasad_plugin`: one constant, valid while it is loaded. */
struct rasad_plugin {
    /* The head is the same in every ABI; RASAD_PLUGIN_HEAD fills it. */
    uint32_t magic;       /* RASAD_MAGIC */
    uint32_t abi;         /* RASAD_ABI as the plugin was compiled with */
    uint32_t size;        /* of this struct, as the plugin knows it */
    uint32_t option_size; /* of an option row, as the plugin knows it */

    uint32_t flags;         /* RASAD_COMMUTATIVE, RASAD_APPROXIMATE, or'ed */
    uint32_t kind;          /* RASAD_GAUGE, RASAD_COUNTER, RASAD_HISTOGRAM or RASAD_SUMMARY */
    uint32_t state_version; /* of the state's layout, not of the code; at least 1 */
    uint32_t reserved;      /* 0 */
    const char *name;       /* [a-z][a-z0-9_]*, as the conf names it; also the file's name */
    const char *version;    /* of the code, for people */
    const char *help;       /* one line: what it aggregates */

    const struct rasad_option *options; /* the option table, or NULL; see RASAD_OPTIONS */
    uint64_t option_count;
    uint64_t config_size; /* of the config struct in bytes; 0 without one */

    /*
     * Optional. Checks what a table can't, and may derive members that no option sets (they are
     * zero before). Called once for each use of the plugin in the conf, before all else. On false
     * the conf is refused with the error's text. The only function that may allocate.
     */
    bool (*configure)(void *config, struct rasad_error *error);

    /* The bytes that a state takes under this config: constant, at least 1, at most 1 MiB. */
    size_t (*state_size)(const void *config);

    /* Makes a fresh state out of bytes of any content. */
    void (*init)(const void *config, void *state);

    /*
     * Takes one sample into a state. On false the sample is refused and counted as "bad_value",
     * the error's text is logged, and not a byte of the state has changed.
     */
    bool (*update)(const void *config, void *state, const struct rasad_value *value,
                   struct rasad_error *error);

    /* Makes `into` the state of both: of the same series, both under the same config. */
    void (*merge)(const void *config, void *into, const void *from);

    /* Writes a state's points. */
    void (*render)(const void *config, const void *state, struct rasad_writer *writer);

    /*
     * Optional. Makes a state of this version and size in `into`, which init() has filled, out of
     * the `size` bytes at `from`, which it may only read. They are of another state_version, older
     * or newer than this one, or of this one under a config with another state_size(). On false
     * that state can't be brought over: the whole reload is refused, and the old plugin goes on.
     * Without migrate() series begin anew where their states are older or of another size, and a
     * reload that would meet newer ones is refused.
     */
    bool (*migrate)(const void *config, uint32_t from_version, const void *from, size_t size,
                    void *into);

    /* Optional. Whether bytes that come from a disk can be a state under this config. */
    bool (*verify)(const void *config, const void *state, size_t size);

    /* Optional. Frees what configure() allocated. */
    void (*release)(void *config);
};

/* The first members of every plugin struct. */
#define RASAD_PLUGIN_HEAD                                                                          \
    .magic = RASAD_MAGIC, .abi = RASAD_ABI, .size = sizeof(struct rasad_plugin),                   \
    .option_size = sizeof(struct rasad_option)

/* What the plugin file must define. */
extern RASAD_PUBLIC const struct rasad_plugin rasad_plugin;

/*
 * The ABI number as an ELF note (section .note.rasad, owner "Rasad", type 1, a 32-bit number), so
 * that a host can read it before it runs a line of the file. The host itself, which includes this
 * header too, has none.
 */
#define RASAD_NOTE_OWNER "Rasad"
#define RASAD_NOTE_ABI 1
#ifndef RASAD_HOST
#define RASAD_TEXT_OF_(x) #x
#define RASAD_TEXT_OF(x) RASAD_TEXT_OF_(x)
__asm__(".pushsection .note.rasad,\"a\",%note\n"
        ".balign 4\n"
        ".long 6, 4, 1\n" /* the owner's length with its NUL, the number's length, the type */
        ".asciz \"" RASAD_NOTE_OWNER "\"\n"
        ".balign 4\n"
        ".long " RASAD_TEXT_OF(RASAD_ABI) "\n"
                                          ".popsection\n");
#endif

#ifdef __cplusplus
}
#endif
