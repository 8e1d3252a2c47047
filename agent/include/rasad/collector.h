/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * rasad/collector.h: the only header that a collector needs, and the whole of its contract.
 *
 * A collector measures something on the agent's host. It exports one constant struct,
 * `rasad_collector`: what it is called, which keys it sends, and a function that the agent calls
 * once an interval. It needs no symbol of the agent and links libc and libm only; what it may call
 * comes as function pointers in the struct rasad_output that it is handed.
 *
 *   - Threads: all calls come from one thread, one after the other.
 *   - It may read files below out->proc and ask the kernel, but must not wait for a network, a
 *     disk or another process: all collectors share their thread.
 *   - It has no globals. What it must remember lies in its state: state_size bytes, zero at the
 *     start, owned by the agent, aligned to 8 bytes. Nothing ends a state, so it holds no open file
 *     and no memory of its own.
 *   - It keeps no address that it is handed beyond its return.
 *   - Time and randomness come in with the output, so it can be tested on canned files.
 *
 * This is collector ABI 1: structs grow at their end only, and what an older collector has not is
 * zero.
 */
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#ifdef __cplusplus
extern "C" {
#endif

#define RASAD_COLLECTOR_ABI 1                      /* raised when one must be compiled anew */
#define RASAD_COLLECTOR_MAGIC UINT32_C(0x4f435352) /* "RSCO" in memory order, little end first */

/* Marks the one exported symbol; compile everything else with -fvisibility=hidden. */
#ifndef RASAD_PUBLIC
#define RASAD_PUBLIC __attribute__((visibility("default")))
#endif

/* Where a collector's samples go. Made by the agent, lent for one call; use the functions below. */
struct rasad_output {
    uint32_t size; /* of this struct, as the agent knows it */
    uint32_t reserved;
    int64_t now_ns;   /* CLOCK_MONOTONIC, in nanoseconds; never 0 */
    uint64_t seed;    /* random bits, others at every call */
    const char *proc; /* the folder that stands for /proc; no slash at its end */
    char error[256];  /* why collect() returned false; empty at its start */
    void (*number)(struct rasad_output *out, const char *key, double value,
                   const char *const *labels);
    void (*text)(struct rasad_output *out, const char *key, const char *text);
    void (*ping)(struct rasad_output *out);
};

/* Sends a finite number; `labels` is NULL, or name, value, name, value, …, NULL (UTF-8). */
static inline void rasad_send_number(struct rasad_output *out, const char *key, double value,
                                     const char *const *labels)
{
    out->number(out, key, value, labels);
}

/* Sends a text (UTF-8), as a message of its own. */
static inline void rasad_send_text(struct rasad_output *out, const char *key, const char *text)
{
    out->text(out, key, text);
}

/* Asks the server for a sign of life; pong() is called when it comes, and never if it doesn't. */
static inline void rasad_send_ping(struct rasad_output *out)
{
    out->ping(out);
}

/* Notes why nothing (more) can be measured, in one sentence, and returns false, for `return`. */
__attribute__((format(printf, 2, 3))) static inline bool rasad_output_fail(struct rasad_output *out,
                                                                           const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    (void)vsnprintf(out->error, sizeof out->error, format, arguments);
    va_end(arguments);
    return false;
}

/* A key that a collector sends. The agent refuses to send others. */
struct rasad_key {
    const char *name;   /* the JSON key */
    const char *plugin; /* the metric type that suits it: "gauge", "counter", … */
    const char *unit;   /* "bytes", "seconds", "percent", …; "" for plain counts */
    const char
        *labels;      /* the label names that it comes with, by commas: "device,direction"; or "" */
    const char *help; /* one line: what it is */
};

/* What the collector exports under the name `rasad_collector`: one constant. */
struct rasad_collector {
    /* The head is the same in every ABI; RASAD_COLLECTOR_HEAD fills it. */
    uint32_t magic;    /* RASAD_COLLECTOR_MAGIC */
    uint32_t abi;      /* RASAD_COLLECTOR_ABI as the collector was compiled with */
    uint32_t size;     /* of this struct, as the collector knows it */
    uint32_t key_size; /* of a struct rasad_key, as the collector knows it */

    const char *name;    /* [a-z][a-z0-9_]*, as agent.conf names it; also the file's name */
    const char *version; /* of the code, for people */
    const char *help;    /* one line: what it measures, and where it finds that */
    const struct rasad_key *keys; /* see RASAD_KEYS */
    uint64_t key_count;
    uint64_t state_size; /* bytes, at most 1 MiB; 0 without a state */
    int64_t interval_ns; /* how often collect() is called unless the conf says otherwise */

    /*
     * Measures and sends. On false the agent logs the sentence of rasad_output_fail(), once, until
     * it succeeds again; what was sent before stays sent.
     */
    bool (*collect)(void *state, struct rasad_output *out);

    /* Optional. An answer came, so many nanoseconds after its ping was sent. */
    void (*pong)(void *state, int64_t rtt_ns, struct rasad_output *out);
};

/* The first members of every collector struct. */
#define RASAD_COLLECTOR_HEAD                                                                       \
    .magic = RASAD_COLLECTOR_MAGIC, .abi = RASAD_COLLECTOR_ABI,                                    \
    .size = sizeof(struct rasad_collector), .key_size = sizeof(struct rasad_key)

/* The table of keys: RASAD_KEYS(keys), for `static const struct rasad_key keys[]`. */
#define RASAD_KEYS(table) .keys = (table), .key_count = sizeof(table) / sizeof *(table)

/* What the collector's file must define. */
extern RASAD_PUBLIC const struct rasad_collector rasad_collector;

/*
 * The ABI number as an ELF note (section .note.rasad, owner "RasadCollector", type 1, a 32-bit
 * number), which the agent reads before it runs a line of the file. The agent itself has none.
 */
#define RASAD_COLLECTOR_NOTE_OWNER "RasadCollector"
#ifndef RASAD_HOST
#define RASAD_COLLECTOR_TEXT_OF_(x) #x
#define RASAD_COLLECTOR_TEXT_OF(x) RASAD_COLLECTOR_TEXT_OF_(x)
__asm__(".pushsection .note.rasad,\"a\",%note\n"
        ".balign 4\n"
        ".long 15, 4, 1\n" /* the owner's length with its NUL, the number's length, the type */
        ".asciz \"" RASAD_COLLECTOR_NOTE_OWNER "\"\n"
        ".balign 4\n"
        ".long " RASAD_COLLECTOR_TEXT_OF(RASAD_COLLECTOR_ABI) "\n"
                                                              ".popsection\n");
#endif

#ifdef __cplusplus
}
#endif
