/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/report.h"

#include <stdio.h>
#include <string.h>

#include "base/number.h"

#define NS_PER_S INT64_C(1000000000)

/* A statement of a conf on one line of the report. */
static void add_conf(struct text *out, const char *conf)
{
    for (const char *at = conf, *end; (end = strchr(at, '\n')) != NULL; at = end + 1) {
        text_add_string(out, at > conf ? "  " : "");
        text_add(out, at, (size_t)(end - at));
    }
}

/* A sample as the JSON value that would make it. */
static void add_sample(struct text *out, const struct case_sample *sample)
{
    char number[NUMBER_LENGTH];

    text_add_string(out, sample->type == RASAD_CHANGE ? "{\"add\": " : "{\"value\": ");
    if (sample->type == RASAD_TEXT || sample->length > 0) {
        text_add_json(out, sample->text, sample->length);
    } else {
        number_format(sample->number, number);
        text_add_string(out, number);
    }
    text_printf(out, ", \"time\": %lld.%09lld}", (long long)(sample->time_ns / NS_PER_S),
                (long long)(sample->time_ns % NS_PER_S));
}

static bool has_part(const struct law_case *at, int part)
{
    for (size_t i = 0; i < at->count; i++) {
        if (at->samples[i].part == part)
            return true;
    }
    return false;
}

/* ---- For people ---------------------------------------------------------------------------- */

static void add_case(struct text *out, const struct laws_result *result, const char *key)
{
    static const char *const parts[CASE_PARTS] = {"first", "second", "third"};
    const struct law_case *at = result->smallest;

    if (at->count == 0)
        text_add_string(out, "      with states that have seen no sample\n");
    for (int part = 0; part < CASE_PARTS; part++) {
        if (!has_part(at, part))
            continue;
        text_printf(out, "      samples of the %s state:\n",
                    result->has_parts ? parts[part] : "only");
        for (size_t i = 0; i < at->count; i++) {
            if (at->samples[i].part != part)
                continue;
            text_add_string(out, "      {");
            text_add_json(out, key, strlen(key));
            text_add_string(out, ": ");
            add_sample(out, &at->samples[i]);
            text_add_string(out, "}\n");
        }
    }
}

static void add_line(struct report *report, const struct laws_result *result)
{
    static const char *const words[] = {"FAIL", "ok", "FAIL", "--"};
    struct text *out = &report->out;

    text_printf(out, "%-4s  %-42s", words[result->outcome], result->title);
    if (result->outcome == LAW_HOLDS && result->detail[0] == '\0')
        text_printf(out, "  %llu case%s", (unsigned long long)result->cases,
                    result->cases == 1 ? "" : "s");
    if (result->detail[0] != '\0') {
        text_add_string(out, "  ");
        text_add_visible(out, result->detail, strlen(result->detail));
    }
    text_add_string(out, "\n");
    if (result->outcome != LAW_BROKEN)
        return;
    if (result->conf[0] != '\0') {
        text_add_string(out, "      conf: ");
        add_conf(out, result->conf);
        text_add_string(out, "\n");
    }
    if (result->smallest != NULL)
        add_case(out, result, report->plugin->api.name);
    text_printf(out, "      again: rasadctl check %s --seed %llu\n", report->plugin->path,
                (unsigned long long)report->seed);
}

static void add_figures(struct text *out, const struct laws_figures *figures, bool all_hold)
{
    static const char *const whats[] = {"number", "text"};

    if (figures->state_size > 0)
        text_printf(out, "%zu bytes a state", figures->state_size);
    for (int i = 0; i < 2; i++) {
        if (figures->update_ns[i] > 0)
            text_printf(out, ", %.1f ns a %s", figures->update_ns[i], whats[i]);
    }
    text_printf(out, "%s%s\n", figures->state_size > 0 ? ": " : "",
                all_hold ? "all laws hold" : "a law is broken");
}

/* ---- As JSON ------------------------------------------------------------------------------- */

static void add_json_case(struct text *out, const struct law_case *at)
{
    text_add_string(out, ", \"samples\": [");
    for (int part = 0; part < CASE_PARTS; part++) {
        const char *between = "";

        text_add_string(out, part > 0 ? ", [" : "[");
        for (size_t i = 0; i < at->count; i++) {
            if (at->samples[i].part != part)
                continue;
            text_add_string(out, between);
            add_sample(out, &at->samples[i]);
            between = ", ";
        }
        text_add_string(out, "]");
    }
    text_add_string(out, "]");
}

static void add_json_text(struct text *out, const char *name, const char *text)
{
    struct text visible = {0};

    text_add_visible(&visible, text, strlen(text)); /* which makes it UTF-8 in any case */
    text_printf(out, ", \"%s\": ", name);
    text_add_json(out, text_end(&visible), visible.length);
    out->failed |= visible.failed;
    text_free(&visible);
}

static void add_json_law(struct report *report, const struct laws_result *result)
{
    static const char *const words[] = {"broken", "ok", "broken", "skipped"};
    struct text *out = &report->out;

    text_printf(out, "%s{\"law\": \"%s\", \"result\": \"%s\", \"cases\": %llu",
                report->laws > 0 ? ", " : "", result->title, words[result->outcome],
                (unsigned long long)result->cases);
    if (result->detail[0] != '\0')
        add_json_text(out, "detail", result->detail);
    if (result->outcome == LAW_BROKEN)
        add_json_text(out, "conf", result->conf);
    if (result->outcome == LAW_BROKEN && result->smallest != NULL)
        add_json_case(out, result->smallest);
    text_add_string(out, "}");
}

static void add_json_figures(struct text *out, const struct laws_figures *figures, bool all_hold)
{
    text_printf(out,
                "], \"confs\": %zu, \"confs_tried\": %zu, \"state_bytes\": %zu, \"number_ns\": "
                "%.1f, \"text_ns\": %.1f, \"holds\": %s}\n",
                figures->confs, figures->confs_tried, figures->state_size, figures->update_ns[0],
                figures->update_ns[1], all_hold ? "true" : "false");
}

/* ---- Both ---------------------------------------------------------------------------------- */

/* Hands on what is there; what a process forked later would write again must not stay. */
static void flush(struct text *out)
{
    if (out->length > 0)
        (void)fwrite(out->at, 1, out->length, stdout);
    (void)fflush(stdout);
    text_clear(out);
}

void report_begin(struct report *report)
{
    const struct rasad_plugin *api = &report->plugin->api;

    if (!report->json) {
        text_printf(&report->out, "%s %s, seed %llu\n", api->name, api->version,
                    (unsigned long long)report->seed);
        flush(&report->out);
        return;
    }
    text_printf(&report->out, "{\"plugin\": \"%s\"", api->name);
    add_json_text(&report->out, "version", api->version);
    add_json_text(&report->out, "path", report->plugin->path);
    text_printf(&report->out, ", \"seed\": %llu, \"laws\": [", (unsigned long long)report->seed);
}

void report_law(void *context, const struct laws_result *result)
{
    struct report *report = context;

    if (report->json) {
        add_json_law(report, result);
    } else {
        add_line(report, result);
        flush(&report->out);
    }
    report->laws++;
}

bool report_end(struct report *report, const struct laws_figures *figures, bool all_hold)
{
    bool fine;

    if (report->json)
        add_json_figures(&report->out, figures, all_hold);
    else
        add_figures(&report->out, figures, all_hold);
    fine = !report->out.failed;
    flush(&report->out);
    text_free(&report->out);
    return fine && ferror(stdout) == 0;
}
