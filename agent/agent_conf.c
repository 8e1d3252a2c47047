/* SPDX-License-Identifier: Apache-2.0 */
#include "agent_conf.h"

#include <stdlib.h>
#include <string.h>

#include "agent_name.h"
#include "base/address.h"
#include "base/conf_scan.h"
#include "base/conf_schema.h"
#include "base/conf_values.h"
#include "base/number.h"
#include "base/scoped.h"
#include "options.h"
#include "spool.h"

static const struct rasad_option rows[] = {
    RASAD_OPTION_TEXTS(struct agent_conf, server, .preset = "",
                       .help =
                           "The servers in order of preference, \"HOST:PORT\"; the port is 5050 "
                           "if left out, and an IPv6 address is written [::1]:5050. Default: "
                           "none, so that -s is needed"),
    RASAD_OPTION_TEXT(struct agent_conf, name, .preset = "",
                      .help = "The name that this agent's series carry: 1 to 255 bytes of UTF-8 "
                              "without control characters. Default: \"\", the host's name"),
    RASAD_OPTION_TEXTS(struct agent_conf, collectors_path, .preset = "",
                       .help = "Folders with collectors of your own, searched before Rasad's. "
                               "Default: none"),
    RASAD_OPTION_TEXT(struct agent_conf, spool, .preset = "",
                      .help = "The folder where the spool lies; \"\" keeps messages in memory, so "
                              "that they end with the agent. Default: see SPOOL in rasad-agent(8)"),
    RASAD_OPTION_TEXT(struct agent_conf, spool_max, .preset = "64MiB",
                      .help =
                          "How large the spool may grow, 64KiB to 16GiB; in memory, 8MiB unless "
                          "this says otherwise. A message may be a quarter of that"),
    RASAD_OPTION_TEXT(struct agent_conf, spool_full, .preset = "",
                      .help =
                          "What happens when the spool is full: \"block\" takes nothing more, "
                          "\"drop-oldest\" drops the oldest messages that no server was sent, "
                          "which the server counts in rasad_agent_dropped_total. Default: "
                          "\"drop-oldest\"; with --stdin, which then reads no further, \"block\""),
    RASAD_OPTION_TEXT(struct agent_conf, spool_sync, .preset = "disk",
                      .help =
                          "When a message is taken: \"disk\", once it is synced to the disk, so "
                          "that no power cut loses it; \"os\", once it is written, so that no "
                          "kill of the agent does; \"memory\", at once, without a spool on disk"),
};

/* The preset of the interval is each collector's own; that one here only shows how to write it. */
static const struct rasad_option collector_rows[] = {
    RASAD_OPTION_BOOL(struct agent_conf_collector, enabled, .preset = "true",
                      .help = "Whether the collector runs"),
    RASAD_OPTION_DURATION(struct agent_conf_collector, interval, .preset = "1s", .min = "10ms",
                          .max = "1d", .help = "How often the collector is called"),
};

#define COUNT(table) (sizeof(table) / sizeof *(table))

static const struct conf_section sections[] = {
    {.name = "collector",
     .is_titled = true,
     .options = collector_rows,
     .option_count = COUNT(collector_rows)},
};

const struct conf_section agent_conf_schema = {
    .options = rows,
    .option_count = COUNT(rows),
    .sections = sections,
    .section_count = COUNT(sections),
};

/* The option must be one of these words. */
static void check_word(struct conf_tree *tree, const char *option, const char *const *words)
{
    const struct conf_statement *statement = conf_find(&tree->root, option);
    SCOPED(text_free) struct text choice = {0};

    if (statement == NULL || statement->value_count != 1)
        return;
    for (size_t i = 0; words[i] != NULL; i++) {
        if (strcmp(statement->values[0].text, words[i]) == 0)
            return;
        text_printf(&choice, "%s\"%s\"", i == 0 ? "" : " or ", words[i]);
    }
    conf_complain(tree, statement->file, statement->values[0].line,
                  "\"%s\" can't be \"%.60s\" (write %s)", option, statement->values[0].text,
                  text_end(&choice));
}

static void check_spool(struct conf_tree *tree)
{
    static const char *const full[] = {"block", "drop-oldest", NULL};
    static const char *const sync[] = {"disk", "os", "memory", NULL};
    const struct conf_statement *most = conf_find(&tree->root, "spool_max");
    uint64_t bytes;

    check_word(tree, "spool_full", full);
    check_word(tree, "spool_sync", sync);
    if (most != NULL && most->value_count == 1 &&
        (!size_parse(most->values[0].text, &bytes) || bytes < SPOOL_LEAST_BYTES ||
         bytes > SPOOL_MOST_BYTES))
        conf_complain(tree, most->file, most->values[0].line,
                      "\"spool_max\" must be 64KiB to 16GiB, got \"%.60s\" (write bytes, or such "
                      "as \"64MiB\")",
                      most->values[0].text);
}

/* What the tables can't tell: whether the servers can be servers, and the name one. */
static void check_values(struct conf_tree *tree)
{
    const struct conf_statement *server = conf_find(&tree->root, "server");
    const struct conf_statement *name = conf_find(&tree->root, "name");
    struct rasad_error error;
    char host[256];
    uint16_t port;

    for (size_t i = 0; server != NULL && i < server->value_count; i++) {
        const struct conf_value *value = &server->values[i];

        if (!address_split(value->text, 1, host, &port, &error))
            conf_complain(tree, server->file, value->line, "%s", error.text);
    }
    if (server != NULL && server->value_count > OPTIONS_MOST_SERVERS)
        conf_complain(tree, server->file, server->line, "%zu servers (write at most %d)",
                      server->value_count, OPTIONS_MOST_SERVERS);
    if (name != NULL && name->value_count == 1 && name->values[0].text[0] != '\0' &&
        !agent_name_check(name->values[0].text, &error))
        conf_complain(tree, name->file, name->values[0].line, "%s", error.text);
}

static bool fill_collector(struct conf_tree *tree, const struct conf_statement *section,
                           struct agent_conf *conf)
{
    struct agent_conf_collector *collector = &conf->collectors[conf->collector_count];

    if (!conf_fill(tree, section, collector_rows, COUNT(collector_rows), collector))
        return false;
    if (conf_find(section, "interval") == NULL)
        collector->interval = 0;
    collector->line = section->line;
    collector->name = strdup(section->title);
    collector->file = strdup(section->file->path);
    conf->collector_count++;
    return collector->name != NULL && collector->file != NULL;
}

/* Takes the values out of a tree without complaints; false without memory. */
static bool fill(struct conf_tree *tree, struct agent_conf *conf)
{
    if (!conf_fill(tree, &tree->root, rows, COUNT(rows), conf))
        return false;
    conf->has_spool = conf_find(&tree->root, "spool") != NULL;
    if (conf_find(&tree->root, "spool_max") != NULL)
        (void)size_parse(conf->spool_max, &conf->spool_max_bytes);
    conf->collectors = calloc(tree->root.child_count + 1, sizeof *conf->collectors);
    if (conf->collectors == NULL)
        return false;
    for (size_t i = 0; i < tree->root.child_count; i++) {
        const struct conf_statement *child = &tree->root.children[i];

        if (child->is_section && !fill_collector(tree, child, conf))
            return false;
    }
    return true;
}

bool agent_conf_read(const char *path, struct agent_conf **out, struct text *report)
{
    SCOPED(conf_tree_free) struct conf_tree tree = {0};
    SCOPED(agent_conf_free_at) struct agent_conf *conf = calloc(1, sizeof *conf);

    conf_scan(path, &tree);
    conf_check(&tree, &agent_conf_schema);
    check_values(&tree);
    check_spool(&tree);
    if (conf != NULL && conf_tree_ok(&tree) && fill(&tree, conf)) {
        *out = TAKE(conf);
        return true;
    }
    conf_tree_report(&tree, report);
    if (report->length == 0)
        text_printf(report, "%s: out of memory\n", path);
    return false;
}

void agent_conf_free(struct agent_conf *conf)
{
    if (conf == NULL)
        return;
    for (size_t i = 0; i < conf->collector_count; i++) {
        free(conf->collectors[i].name);
        free(conf->collectors[i].file);
    }
    free(conf->collectors);
    conf_empty(rows, COUNT(rows), conf);
    free(conf);
}

void agent_conf_free_at(struct agent_conf **conf)
{
    agent_conf_free(*conf);
}
