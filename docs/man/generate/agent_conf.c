/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Makes rasad-agent.conf(5) out of its template, the agent's tables, and what the collectors say.
 * Usage: agent-conf-page TEMPLATE PAGE FOLDER COLLECTOR...
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "agent_conf.h"
#include "base/clock.h"
#include "base/scoped.h"
#include "collector.h"
#include "page.h"

enum { AGENT, COLLECTOR, COLLECTORS, PART_COUNT };

/* Each collector has an interval of its own, which stands beside it. */
static bool add_collector_options(struct text *out, struct rasad_error *error)
{
    const struct conf_section *section = &agent_conf_schema.sections[0];

    for (size_t i = 0; i < section->option_count; i++) {
        struct rasad_option option = section->options[i];

        if (strcmp(option.name, "interval") == 0)
            option.preset = "";
        if (!page_add_options(out, &option, 1, error))
            return false;
    }
    text_add_string(out, "Default: the collector's own.\n");
    return true;
}

static void add_key(struct text *out, const struct rasad_key *key)
{
    text_printf(out, ".RS\n.TP\n.B %s\n", key->name);
    page_add_prose(out, key->help);
    text_printf(out, "For a \\(dq%s\\(dq%s%s", key->plugin, key->unit[0] != '\0' ? ", in " : "",
                key->unit);
    for (const char *at = key->labels; *at != '\0'; at += strspn(at, ",")) {
        size_t length = strcspn(at, ",");

        text_printf(out, "%s%.*s", at == key->labels ? "; labels: " : ", ", (int)length, at);
        at += length;
    }
    text_add_string(out, ".\n.RE\n");
}

static bool add_collector(struct text *out, const char *folder, const char *name,
                          struct rasad_error *error)
{
    SCOPED(collector_close_at) struct collector *collector = NULL;

    if (!collector_open(&folder, 1, name, &collector, error))
        return false;
    text_printf(out, ".TP\n.B %s\n", name);
    page_add_prose(out, collector->api.help);
    text_printf(out, "Each %gs.\n", (double)collector->api.interval_ns / NS_PER_S);
    for (size_t i = 0; i < collector->api.key_count; i++) {
        struct rasad_key key = collector_key(collector, i);

        add_key(out, &key);
    }
    return true;
}

static bool make_parts(struct page_part *parts, const char *folder, char *const *names,
                       struct rasad_error *error)
{
    const struct conf_section *schema = &agent_conf_schema;

    for (size_t i = 0; names[i] != NULL; i++) {
        if (!add_collector(&parts[COLLECTORS].text, folder, names[i], error))
            return false;
    }
    return page_add_options(&parts[AGENT].text, schema->options, schema->option_count, error) &&
           add_collector_options(&parts[COLLECTOR].text, error);
}

int main(int argc, char *argv[])
{
    struct page_part parts[PART_COUNT] = {[AGENT] = {.name = "agent"},
                                          [COLLECTOR] = {.name = "collector"},
                                          [COLLECTORS] = {.name = "collectors"}};
    struct rasad_error error = {0};
    bool fine;

    if (argc < 4) {
        (void)fputs("usage: agent-conf-page TEMPLATE PAGE FOLDER COLLECTOR...\n", stderr);
        return EX_USAGE;
    }
    fine = make_parts(parts, argv[3], argv + 4, &error) &&
           page_write(argv[1], argv[2], parts, PART_COUNT, &error);
    if (!fine)
        (void)fprintf(stderr, "agent-conf-page: %s\n", error.text);
    for (size_t i = 0; i < PART_COUNT; i++)
        page_part_free(&parts[i]);
    return fine ? EXIT_SUCCESS : EXIT_FAILURE;
}
