/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * verdict: what became of a sample or a message, in a line of JSON for those who watch (tap.h) or
 * sent it by hand (struct report). Nobody watches most of the time, and then nothing here runs.
 * Threads: a verdict writer belongs to its shard. Memory: what a verdict points to is lent.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/text.h"
#include "exporter/points.h"
#include "reject.h"
#include "series.h"

/* Of a sample, of a reason and of a key so many bytes are shown. */
#define VERDICT_MOST_SHOWN 1024

struct verdict {
    const char *agent; /* name, or address of an unnamed one; NUL-terminated, like all but `sample`
                          and `text` */
    const char *address;
    const char *key;    /* NULL: it is about a whole message */
    const char *sample; /* as it came */
    size_t sample_length;
    struct series *series; /* what took it, with its new state; NULL: it was refused */
    enum reject reason;    /* of a refusal */
    const char *text;      /* in words; "" where the sample itself says it all */
    size_t text_length;
};

/* Where the verdicts about a connection's samples go: into its replies, as {"@verdict": {…}}. When
 * its sender reads too slowly, verdicts are only counted, and the next pong comes with their
 * number: {"@verdicts": {"accepted": N, "refused": M}}. */
struct report {
    struct text *out;
    uint64_t accepted; /* not told yet */
    uint64_t refused;  /* likewise */
};

/* More unread replies than this let verdicts be counted only. */
#define REPORT_MOST_BYTES (32 << 10)

/* What writing works with. */
struct verdict_writer {
    struct point_set points;
    struct text labels; /* of the series at hand */
    struct text name;   /* likewise, with them */
};

struct verdict_writer verdict_writer_make(void);
void verdict_writer_free(struct verdict_writer *writer);

/* Adds the object: time, agent, address, verdict ("accepted" or "refused"), key, sample; and
 * series, value or count and sum (where its plugin doesn't run isolated); or reason and text. */
void verdict_write(struct verdict_writer *writer, const struct verdict *verdict, int64_t wall_ns,
                   const char *agent_label, struct text *out);

/* The same as a line of the report. */
void verdict_report(struct verdict_writer *writer, const struct verdict *verdict, int64_t wall_ns,
                    const char *agent_label, struct report *report);

/* Adds a line about what was only counted. */
void report_finish(struct report *report);
