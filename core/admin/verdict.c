/* SPDX-License-Identifier: Apache-2.0 */
#include "admin/verdict.h"

#include <string.h>

#include "admin/json_add.h"
#include "base/clock.h"
#include "base/scoped.h"
#include "crash.h"
#include "exporter/gather.h"

struct verdict_writer verdict_writer_make(void)
{
    return (struct verdict_writer){.points = point_set_make()};
}

void verdict_writer_free(struct verdict_writer *writer)
{
    point_set_free(&writer->points);
    text_free(&writer->labels);
    text_free(&writer->name);
}

/* The member with what is shown of the bytes: no character is cut in two. */
static void add_shown(struct text *out, const char *name, const char *bytes, size_t length)
{
    SCOPED(text_free) struct text cut = {0};
    size_t shown = VERDICT_MOST_SHOWN;

    if (length <= shown) {
        json_add_bytes(out, name, bytes, length);
        return;
    }
    while (shown > VERDICT_MOST_SHOWN - 4 && ((unsigned char)bytes[shown] & 0xc0) == 0x80)
        shown--;
    text_add(&cut, bytes, shown);
    text_add_string(&cut, "...");
    json_add_bytes(out, name, cut.at, cut.length);
    out->failed |= cut.failed;
}

/* The value that the series has now, if it is one; of a distribution how many and their sum. */
static void add_value(struct verdict_writer *writer, struct series *series, int64_t wall_ns,
                      struct text *out)
{
    const struct family *family = series->family;
    const struct point *last;

    if (family->aggregate->isolate != NULL)
        return; /* a shard doesn't wait for what another process would render */
    point_set_clear(&writer->points, wall_ns);
    crash_enter(family->api->name, family->name);
    (void)aggregate_render(family->aggregate, series_state(series), &writer->points.writer);
    crash_leave();
    if (writer->points.failed || writer->points.count == 0)
        return;
    last = &writer->points.at[writer->points.count - 1];
    if (last->type == RASAD_POINT_TOTALS) {
        json_add_count(out, "count", last->count);
        json_add_number(out, "sum", last->value);
    } else if (writer->points.count == 1 && last->whole) {
        json_add_count(out, "value", last->count);
    } else if (writer->points.count == 1) {
        json_add_number(out, "value", last->value);
    }
}

/* Its name and labels, as an exposition would have them. */
static void add_name(struct verdict_writer *writer, const struct series *series,
                     const char *agent_label, struct text *out)
{
    text_clear(&writer->labels);
    text_clear(&writer->name);
    gather_labels(&writer->labels, series, agent_label);
    gather_name(&writer->name, series->family, &writer->labels);
    json_add_bytes(out, "series", writer->name.at, writer->name.length);
    out->failed |= writer->labels.failed || writer->name.failed;
}

void verdict_write(struct verdict_writer *writer, const struct verdict *verdict, int64_t wall_ns,
                   const char *agent_label, struct text *out)
{
    json_add_open(out, NULL, '{');
    json_add_number(out, "time", clock_seconds(wall_ns));
    json_add_string(out, "agent", verdict->agent);
    json_add_string(out, "address", verdict->address);
    json_add_string(out, "verdict", verdict->series != NULL ? "accepted" : "refused");
    if (verdict->key != NULL)
        add_shown(out, "key", verdict->key, strlen(verdict->key));
    add_shown(out, "sample", verdict->sample, verdict->sample_length);
    if (verdict->series != NULL) {
        add_name(writer, verdict->series, agent_label, out);
        add_value(writer, verdict->series, wall_ns, out);
    } else {
        json_add_string(out, "reason", reject_word(verdict->reason));
        add_shown(out, "text", verdict->text, verdict->text_length);
    }
    json_add_close(out, '}');
}

void verdict_report(struct verdict_writer *writer, const struct verdict *verdict, int64_t wall_ns,
                    const char *agent_label, struct report *report)
{
    if (report->out->length >= REPORT_MOST_BYTES) {
        (*(verdict->series != NULL ? &report->accepted : &report->refused))++;
        return;
    }
    text_add_string(report->out, "{\"@verdict\":");
    verdict_write(writer, verdict, wall_ns, agent_label, report->out);
    text_add_string(report->out, "}\n");
}

void report_finish(struct report *report)
{
    if (report->accepted == 0 && report->refused == 0)
        return;
    text_add_string(report->out, "{\"@verdicts\":{");
    json_add_count(report->out, "accepted", report->accepted);
    json_add_count(report->out, "refused", report->refused);
    text_add_string(report->out, "}}\n");
    report->accepted = 0;
    report->refused = 0;
}
