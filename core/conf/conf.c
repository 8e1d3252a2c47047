/* SPDX-License-Identifier: Apache-2.0 */
#include "conf/conf.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

#include "base/clock.h"
#include "base/conf_cell.h"
#include "base/conf_schema.h"
#include "base/conf_show.h"
#include "base/conf_values.h"
#include "base/install.h"
#include "base/scoped.h"
#include "conf/conf_names.h"
#include "conf/conf_plugin.h"
#include "crash.h"
#include "isolate/plugin_describe.h"

#define COUNT(array) (sizeof(array) / sizeof *(array))
#define DEFAULT_SOCKET "/run/rasad/rasad.sock"
#define LOCAL_PLUGINS "/usr/local/lib/rasad/plugins"

/* ---- The schema ---------------------------------------------------------------------------- */

/* The structs that the tables fill; their values move on to struct conf. */
struct main_rows {
    struct rasad_texts plugin_path;
    const char *state_dir;
    const char *admin_socket;
    const char *agent_label;
    int64_t threads;
    const char *max_message;
    int64_t stale_after;
    int64_t anonymous_expire;
    int64_t agent_ttl;
    int64_t commit_interval;
    int64_t state_keep;
};

static const struct rasad_option main_rows[] = {
    /* first: plugins must be found before the rest is known to be right */
    RASAD_OPTION_TEXTS(struct main_rows, plugin_path, .preset = "",
                       .help = "Folders with plugins; the first that has NAME.so wins. "
                               "Default: " LOCAL_PLUGINS ", then the folder of Rasad's own"),
    RASAD_OPTION_TEXT(struct main_rows, state_dir, .preset = "",
                      .help = "The folder where state is kept, on a local disk, so that counts "
                              "survive restarts, kills and power cuts; \"\", as by default, keeps "
                              "it in memory only"),
    RASAD_OPTION_TEXT(struct main_rows, admin_socket, .preset = DEFAULT_SOCKET,
                      .help = "The unix socket where rasadctl asks; \"\" for nowhere"),
    RASAD_OPTION_TEXT(struct main_rows, agent_label, .preset = "agent",
                      .help = "The label that tells senders apart; \"\" merges them all"),
    RASAD_OPTION_INTEGER(struct main_rows, threads, .preset = "0", .min = "0", .max = "64",
                         .help = "Threads that take messages; 0 for one a core"),
    RASAD_OPTION_TEXT(struct main_rows, max_message, .preset = "1MiB",
                      .help = "The longest message that is taken, 1KiB to 64MiB"),
    RASAD_OPTION_DURATION(struct main_rows, stale_after, .preset = "5m", .min = "never",
                          .help = "Gauges of an agent that has been gone so long are hidden until "
                                  "it is back"),
    RASAD_OPTION_DURATION(struct main_rows, anonymous_expire, .preset = "1h", .min = "never",
                          .help = "The series of a sender without a name are dropped so long after "
                                  "its connection has ended"),
    RASAD_OPTION_DURATION(struct main_rows, agent_ttl, .preset = "30d", .min = "1s",
                          .help = "A named agent's stream that nothing was heard of for so long is "
                                  "forgotten, with the number that it had reached"),
    RASAD_OPTION_DURATION(struct main_rows, commit_interval, .preset = "20ms", .min = "1ms",
                          .max = "5s", .help = "The least time between two commits to the disk"),
    RASAD_OPTION_DURATION(struct main_rows, state_keep, .preset = "7d", .min = "1s",
                          .help = "States of a metric that has left the conf are kept so long, and "
                                  "come back with it"),
};

struct listen_rows {
    const char *address;
    int64_t port;
    const char *tls_cert;
    const char *tls_key;
    const char *tls_client_ca;
};

#define LISTEN_ROWS(default_port)                                                                  \
    RASAD_OPTION_TEXT(struct listen_rows, address, .preset = "127.0.0.1",                          \
                      .help = "A host's name or address, or unix:PATH. Nobody is asked for a "     \
                              "password, so mind who can reach it"),                               \
        RASAD_OPTION_INTEGER(struct listen_rows, port, .preset = (default_port), .min = "0",       \
                             .max = "65535",                                                       \
                             .help = "The TCP port; 0 takes a free one, which the log tells"),     \
        RASAD_OPTION_TEXT(struct listen_rows, tls_cert, .preset = "", .help = "Not there yet"),    \
        RASAD_OPTION_TEXT(struct listen_rows, tls_key, .preset = "", .help = "Not there yet"),     \
        RASAD_OPTION_TEXT(struct listen_rows, tls_client_ca, .preset = "",                         \
                          .help = "Not there yet")

static const struct rasad_option listen_rows[] = {LISTEN_ROWS("5050")};
static const struct rasad_option http_rows[] = {LISTEN_ROWS("8000")};

/* What this version can do of them: the TLS options are known by name only. */
enum { LISTEN_ROWS_SHOWN = 2 };

struct metric_rows {
    const char *plugin;
    const char *name;
    const char *help;
    struct rasad_texts labels;
    int64_t expire;
    int64_t max_series;
    int64_t max_families;
    bool isolate;
    int64_t isolate_timeout;
};

static const struct rasad_option metric_rows[] = {
    RASAD_OPTION_TEXT(struct metric_rows, plugin,
                      .help = "The plugin that aggregates the samples: NAME of NAME.so"),
    RASAD_OPTION_TEXT(struct metric_rows, name, .preset = "",
                      .help = "The name of the family that is shown. Default: the key, made legal. "
                              "With a name, all that a glob matches goes into one family"),
    RASAD_OPTION_TEXT(struct metric_rows, help, .preset = "",
                      .help = "What the family is, for whoever looks at it. Default: the plugin's"),
    RASAD_OPTION_TEXTS(struct metric_rows, labels, .preset = "",
                       .help = "The names of the labels that messages may set; a sample with "
                               "another one is refused. Default: none"),
    RASAD_OPTION_DURATION(struct metric_rows, expire, .preset = "never", .min = "never",
                          .help = "A series that was not updated for so long is dropped"),
    RASAD_OPTION_INTEGER(struct metric_rows, max_series, .preset = "100000", .min = "1",
                         .max = "1000000000",
                         .help = "How many series a family may have; samples beyond them go into "
                                 "one with the label overflow=\"true\""),
    RASAD_OPTION_INTEGER(struct metric_rows, max_families, .preset = "1000", .min = "1",
                         .max = "1000000", .help = "How many families a glob may make"),
    RASAD_OPTION_BOOL(struct metric_rows, isolate, .preset = "false",
                      .help = "Whether the plugin runs in a sandboxed process of its own, so that "
                              "its crash harms nothing else"),
    RASAD_OPTION_DURATION(struct metric_rows, isolate_timeout, .preset = "250ms", .min = "1ms",
                          .max = "1m",
                          .help = "How long that process may take for a batch before it is killed"),
};

static const struct conf_section sections[] = {
    {.name = "listen", .options = listen_rows, .option_count = COUNT(listen_rows)},
    {.name = "http", .options = http_rows, .option_count = COUNT(http_rows)},
    {.name = "metric", .is_titled = true, .is_deferred = true},
};

static const struct conf_section schema = {
    .options = main_rows,
    .option_count = COUNT(main_rows),
    .sections = sections,
    .section_count = COUNT(sections),
};

/* The same as the manual has it. */
static const struct conf_section shown_sections[] = {
    {.name = "listen", .options = listen_rows, .option_count = LISTEN_ROWS_SHOWN},
    {.name = "http", .options = http_rows, .option_count = LISTEN_ROWS_SHOWN},
    {.name = "metric",
     .is_titled = true,
     .options = metric_rows,
     .option_count = COUNT(metric_rows)},
};

const struct conf_section conf_manual = {
    .options = main_rows,
    .option_count = COUNT(main_rows),
    .sections = shown_sections,
    .section_count = COUNT(shown_sections),
};

/* What conf_read() works on. */
struct reader {
    struct conf_tree tree;
    struct conf *conf;
    const struct conf_statement **sections; /* of the metrics, in their order; owned */
    bool has_folders;                       /* false: a broken plugin_path, so no plugin is found */
    struct text metrics_shown;              /* for conf->effective, behind all else */
};

static void reader_free(struct reader *reader)
{
    free(reader->sections);
    text_free(&reader->metrics_shown);
    conf_tree_free(&reader->tree);
    conf_free(reader->conf);
}

/* The one value of an option in a section, or NULL if it is not given. */
static const char *value_of(const struct conf_statement *section, const char *name)
{
    const struct conf_statement *option = conf_find(section, name);

    return option != NULL && option->value_count > 0 ? option->values[0].text : NULL;
}

/* ---- Outside of metrics -------------------------------------------------------------------- */

/* A number of bytes: "65536", "64KiB", "1MiB". */
static bool parse_size(const char *text, size_t *bytes)
{
    size_t digits = strspn(text, "0123456789");
    unsigned long long amount;

    if (digits == 0 || digits > 9)
        return false;
    amount = strtoull(text, NULL, 10);
    if (strcmp(text + digits, "KiB") == 0)
        amount <<= 10;
    else if (strcmp(text + digits, "MiB") == 0)
        amount <<= 20;
    else if (text[digits] != '\0')
        return false;
    *bytes = amount;
    return amount >= 1 << 10 && amount <= 64 << 20;
}

static void check_max_message(struct conf_tree *tree)
{
    const struct conf_statement *option = conf_find(&tree->root, "max_message");
    const char *text = value_of(&tree->root, "max_message");
    size_t bytes;

    if (text != NULL && !parse_size(text, &bytes))
        conf_complain(tree, option->file, option->line,
                      "\"max_message\" must be 1KiB to 64MiB, got \"%.60s\" (write bytes, or such "
                      "as \"64KiB\" or \"1MiB\")",
                      text);
}

/* The path of a unix socket must fit into its address. */
static void check_socket_path(struct conf_tree *tree, const struct conf_statement *option,
                              const char *path)
{
    if (path[0] == '\0')
        conf_complain(tree, option->file, option->line,
                      "\"%s\" has no path (write %s = \"…/rasad.sock\")", option->name,
                      option->name);
    else if (strlen(path) >= sizeof((struct sockaddr_un *)NULL)->sun_path)
        conf_complain(tree, option->file, option->line,
                      "the path in \"%s\" is longer than a socket's can be (write at most %zu "
                      "bytes)",
                      option->name, sizeof((struct sockaddr_un *)NULL)->sun_path - 1);
}

static void check_listen(struct conf_tree *tree, const struct conf_statement *section)
{
    static const char *const tls[] = {"tls_cert", "tls_key", "tls_client_ca"};
    const char *address = value_of(section, "address");

    if (address != NULL && strncmp(address, "unix:", 5) == 0)
        check_socket_path(tree, conf_find(section, "address"), address + 5);
    for (size_t i = 0; i < COUNT(tls); i++) {
        const struct conf_statement *option = conf_find(section, tls[i]);

        if (option != NULL)
            conf_complain(tree, option->file, option->line,
                          "\"%s\": TLS is not there yet (leave it out)", tls[i]);
    }
}

/* What the tables can't tell. */
static void check_main(struct conf_tree *tree)
{
    const char *socket = value_of(&tree->root, "admin_socket");

    check_max_message(tree);
    conf_names_check_agent_label(tree);
    if (socket != NULL && socket[0] != '\0') /* "" means that there is none */
        check_socket_path(tree, conf_find(&tree->root, "admin_socket"), socket);
    check_listen(tree, conf_find(&tree->root, "listen"));
    check_listen(tree, conf_find(&tree->root, "http"));
}

static bool add_folder(struct rasad_texts *folders, const char *folder)
{
    const char **grown;
    char *copy;

    for (uint64_t i = 0; i < folders->count; i++) {
        if (strcmp(folders->at[i], folder) == 0)
            return true;
    }
    grown = reallocarray((void *)folders->at, folders->count + 1, sizeof(const char *));
    if (grown == NULL)
        return false;
    folders->at = grown;
    if ((copy = strdup(folder)) == NULL)
        return false;
    grown[folders->count++] = copy;
    return true;
}

/* The folders that plugins are looked for in, unless the conf has others. */
static void add_default_folders(struct conf_tree *tree, struct rasad_texts *folders)
{
    struct rasad_error error = {0};
    char own[PATH_MAX];

    if (!install_path(RASAD_PLUGIN_DIR, own, &error))
        conf_complain(tree, tree->root.file, 1, "%s", error.text);
    else if (!add_folder(folders, LOCAL_PLUGINS) || !add_folder(folders, own))
        tree->failed = true;
}

/* Hands the list on to a plain array. */
static void move_texts(struct rasad_texts *texts, char ***at, size_t *count)
{
    *at = (char **)texts->at;
    *count = texts->count;
    *texts = (struct rasad_texts){0};
}

/* Where crashes are noted: what they say counts before the plugins are loaded. */
static void read_crash_folder(struct reader *reader)
{
    const struct conf_statement *root = &reader->tree.root;
    const char *state_dir = value_of(root, "state_dir");
    const char *admin_socket = value_of(root, "admin_socket");
    char folder[PATH_MAX];

    if (!crash_folder(state_dir != NULL ? state_dir : "",
                      admin_socket != NULL ? admin_socket : DEFAULT_SOCKET, folder))
        return; /* the path of the socket is too long, which is complained of */
    reader->conf->crash_folder = strdup(folder);
    reader->tree.failed |= reader->conf->crash_folder == NULL;
}

static void read_folders(struct reader *reader)
{
    struct main_rows rows = {0};
    struct conf *conf = reader->conf;
    const struct conf_statement *root = &reader->tree.root;

    reader->has_folders = conf_fill(&reader->tree, root, main_rows, 1, &rows);
    if (conf_find(root, "plugin_path") == NULL)
        add_default_folders(&reader->tree, &rows.plugin_path);
    move_texts(&rows.plugin_path, &conf->plugin_path, &conf->plugin_path_count);
    conf->shelf.folders = (const char *const *)conf->plugin_path;
    conf->shelf.folder_count = conf->plugin_path_count;
}

/* Shows the options, and hands their values on to the conf; those of plugin_path are there. */
static void move_main(struct reader *reader, struct main_rows *rows)
{
    struct conf *conf = reader->conf;

    conf_empty(main_rows, 1, rows);
    rows->plugin_path = (struct rasad_texts){.at = (const char *const *)conf->plugin_path,
                                             .count = conf->plugin_path_count};
    conf_show(&reader->tree.root, main_rows, COUNT(main_rows), rows, 0, &conf->effective);
    rows->plugin_path = (struct rasad_texts){0};
    conf->state_dir = (char *)TAKE(rows->state_dir);
    conf->admin_socket = (char *)TAKE(rows->admin_socket);
    conf->agent_label = (char *)TAKE(rows->agent_label);
    conf->threads = (int)rows->threads;
    (void)parse_size(rows->max_message, &conf->max_message);
    conf->stale_after_ns = rows->stale_after;
    conf->anonymous_expire_ns = rows->anonymous_expire;
    conf->agent_ttl_ns = rows->agent_ttl;
    conf->commit_interval_ns = rows->commit_interval;
    conf->state_keep_ns = rows->state_keep;
}

static void read_listen(struct reader *reader, const char *name, const struct rasad_option *options,
                        struct conf_listen *listen)
{
    const struct conf_statement *section = conf_find(&reader->tree.root, name);
    struct text *out = &reader->conf->effective;
    struct listen_rows rows = {0};

    if (conf_fill(&reader->tree, section, options, COUNT(listen_rows), &rows)) {
        text_printf(out, "%s {\n", name);
        conf_show(section, options, LISTEN_ROWS_SHOWN, &rows, 4, out);
        text_add_string(out, "}\n");
        listen->address = (char *)TAKE(rows.address);
        listen->port = (uint16_t)rows.port;
    }
    conf_empty(options, COUNT(listen_rows), &rows);
}

static void read_main(struct reader *reader)
{
    struct text *out = &reader->conf->effective;
    struct main_rows rows = {0};

    if (conf_fill(&reader->tree, &reader->tree.root, main_rows, COUNT(main_rows), &rows))
        move_main(reader, &rows);
    conf_empty(main_rows, COUNT(main_rows), &rows);
    read_listen(reader, "listen", listen_rows, &reader->conf->listen);
    read_listen(reader, "http", http_rows, &reader->conf->http);
    text_add(out, reader->metrics_shown.at, reader->metrics_shown.length);
    if (out->failed || reader->metrics_shown.failed)
        reader->tree.failed = true;
}

/* ---- Metrics ------------------------------------------------------------------------------- */

/* Whether the section says so; a value that makes no sense says no, and is complained of later. */
static bool is_isolated(const struct conf_statement *section)
{
    static const struct rasad_option row = {.type = RASAD_OPTION_TYPE_BOOL};
    const char *text = value_of(section, "isolate");
    struct conf_cell cell = {0};

    return text != NULL && conf_cell_parse(&row, text, &cell) && cell.flag;
}

static const struct plugin *find_plugin(struct reader *reader, const struct conf_statement *section,
                                        struct conf_metric *metric)
{
    const struct conf_statement *option = conf_find(section, "plugin");
    struct plugin_shelf *shelf = &reader->conf->shelf;
    struct rasad_error error = {0};
    const struct plugin *plugin;
    bool isolated = is_isolated(section);

    if (option == NULL || option->value_count != 1 || !reader->has_folders)
        return NULL; /* the check of the options complains of that */
    metric->is_blamed =
        !isolated && reader->conf->crash_folder != NULL &&
        crash_blames(reader->conf->crash_folder, option->values[0].text, clock_wall_ns());
    plugin = isolated || metric->is_blamed
                 ? plugin_shelf_get_isolated(shelf, option->values[0].text, &error)
                 : plugin_shelf_get(shelf, option->values[0].text, &error);
    if (plugin == NULL)
        conf_complain(&reader->tree, option->file, option->line, "%s", error.text);
    return plugin;
}

/* The name that the samples have, if all of them have one. */
static char *family_name(const struct conf_statement *section, bool is_glob)
{
    const char *name = value_of(section, "name");
    const char *key = section->title;
    SCOPED(free_at) char *made = NULL;

    if (name != NULL)
        return strdup(name);
    if (is_glob)
        return NULL;
    made = malloc(2 * strlen(key) + 2);
    if (made == NULL || !conf_legal_name(key, strlen(key), made))
        return NULL;
    return TAKE(made);
}

/* What is known of the metric before its options are. */
static bool begin_metric(const struct conf_statement *section, struct conf_metric *metric)
{
    bool has_name;

    if (section->title == NULL || section->title[0] == '\0')
        return true; /* the schema has complained */
    metric->is_glob = strpbrk(section->title, "*?[") != NULL;
    has_name = !metric->is_glob || value_of(section, "name") != NULL;
    metric->line = section->line;
    metric->key = strdup(section->title);
    metric->file = strdup(section->file->path);
    metric->name = family_name(section, metric->is_glob);
    return metric->key != NULL && metric->file != NULL && (metric->name != NULL || !has_name);
}

static void show_metric(const struct conf_statement *section, const struct conf_metric *metric,
                        const struct metric_rows *common, const struct rasad_option *rows,
                        size_t row_count, struct text *out)
{
    struct metric_rows shown = *common;
    size_t count = COUNT(metric_rows);

    /* The defaults that come from elsewhere. */
    shown.help = metric->help;
    text_add_string(out, "metric ");
    conf_show_text(metric->key, out);
    text_printf(out, " { # %s:%d\n", metric->file, metric->line);
    for (size_t i = 0; i < count; i++) {
        shown.name = metric->name;
        if (strcmp(rows[i].name, "name") != 0 || metric->name != NULL)
            conf_show(section, &rows[i], 1, &shown, 4, out);
    }
    conf_show(section, rows + count, row_count - count, metric->aggregate.config, 4, out);
    text_add_string(out, "}\n");
}

/* Takes what the metric has of the common options. */
static bool take_common(struct metric_rows *common, struct conf_metric *metric)
{
    const char *help = common->help[0] != '\0' ? common->help : metric->aggregate.plugin->api.help;

    if ((metric->help = strdup(help)) == NULL)
        return false;
    metric->expire_ns = common->expire;
    metric->max_series = (uint64_t)common->max_series;
    metric->max_families = (uint64_t)common->max_families;
    return true;
}

static void fill_metric(struct reader *reader, const struct conf_statement *section,
                        struct conf_metric *metric, const struct rasad_option *rows,
                        size_t row_count)
{
    size_t count = COUNT(metric_rows);
    struct metric_rows common = {0};

    if (conf_fill(&reader->tree, section, metric_rows, count, &common) &&
        conf_plugin_configure(&reader->tree, section, rows + count, row_count - count,
                              common.isolate_timeout, &metric->aggregate)) {
        if (take_common(&common, metric)) {
            show_metric(section, metric, &common, rows, row_count, &reader->metrics_shown);
            move_texts(&common.labels, &metric->labels, &metric->label_count);
        } else {
            reader->tree.failed = true;
        }
    }
    conf_empty(metric_rows, count, &common);
}

static void read_metric(struct reader *reader, const struct conf_statement *section,
                        struct conf_metric *metric)
{
    struct conf_tree *tree = &reader->tree;
    size_t complaints = tree->complaint_count;
    SCOPED(free_at) struct rasad_option *rows = NULL;
    struct rasad_error error = {0};
    const struct plugin *plugin;
    size_t row_count;

    if (!begin_metric(section, metric)) {
        tree->failed = true;
        return;
    }
    metric->aggregate.plugin = plugin = find_plugin(reader, section, metric);
    if (!conf_plugin_rows(plugin, metric_rows, COUNT(metric_rows), &rows, &row_count, &error)) {
        conf_complain(tree, section->file, section->line, "%s", error.text);
        return;
    }
    conf_check_options(tree, section, rows, row_count, plugin == NULL);
    conf_names_check_metric(tree, section, metric->name);
    if (plugin != NULL && metric->key != NULL && tree->complaint_count == complaints)
        fill_metric(reader, section, metric, rows, row_count);
}

static bool read_metrics(struct reader *reader)
{
    struct conf *conf = reader->conf;
    const struct conf_statement *root = &reader->tree.root;

    conf->metrics = calloc(root->child_count + 1, sizeof *conf->metrics);
    reader->sections = calloc(root->child_count + 1, sizeof(const struct conf_statement *));
    if (conf->metrics == NULL || reader->sections == NULL)
        return false;
    for (size_t i = 0; i < root->child_count; i++) {
        const struct conf_statement *section = &root->children[i];

        if (strcmp(section->name, "metric") != 0 || !section->is_section)
            continue;
        reader->sections[conf->metric_count] = section;
        read_metric(reader, section, &conf->metrics[conf->metric_count++]);
    }
    conf_names_check_clashes(&reader->tree, reader->sections, conf->metrics, conf->metric_count);
    return true;
}

/* ---- The whole ----------------------------------------------------------------------------- */

/* A conf of which nothing but its path is known, and where its plugins may come from. */
static struct conf *begin_conf(const char *path, const struct conf *running, plugin_vet *vet)
{
    struct conf *conf = calloc(1, sizeof *conf);

    if (conf == NULL || (conf->path = strdup(path)) == NULL) {
        free(conf);
        return NULL;
    }
    conf->shelf.previous = running != NULL ? &running->shelf : NULL;
    conf->shelf.leaked = running != NULL ? running->shelf.leaked : NULL;
    conf->shelf.vet = vet;
    conf->shelf.describe = plugin_describe;
    return conf;
}

bool conf_read(const char *path, const struct conf *running, plugin_vet *vet, struct conf **out,
               struct text *report)
{
    SCOPED(reader_free) struct reader reader = {0};

    conf_scan(path, &reader.tree);
    if ((reader.conf = begin_conf(path, running, vet)) == NULL)
        reader.tree.failed = true;
    if (!reader.tree.failed && reader.tree.root.file->bytes != NULL) {
        conf_check(&reader.tree, &schema);
        check_main(&reader.tree);
        read_folders(&reader);
        read_crash_folder(&reader);
        if (!read_metrics(&reader))
            reader.tree.failed = true;
        if (conf_tree_ok(&reader.tree))
            read_main(&reader);
    }
    if (!conf_tree_ok(&reader.tree)) {
        conf_tree_report(&reader.tree, report);
        return false;
    }
    reader.conf->shelf.previous = NULL; /* the conf may outlive it */
    *out = TAKE(reader.conf);
    return true;
}

bool conf_begin(struct conf *conf, const struct isolate_house *house, struct rasad_error *error)
{
    for (size_t i = 0; i < conf->metric_count; i++) {
        if (!aggregate_begin(&conf->metrics[i].aggregate, house, error))
            return false;
    }
    return true;
}

void conf_print(const struct conf *conf, struct text *out)
{
    text_add(out, conf->effective.at, conf->effective.length);
}

void conf_place_of(const struct conf *conf, const char *option, char place[CONF_PLACE_LENGTH])
{
    const struct text *shown = &conf->effective;
    size_t length = strlen(option);

    /* conf_show() writes a line for each: `threads = 2 # rasad.conf:7`. */
    (void)snprintf(place, CONF_PLACE_LENGTH, "%s", conf->path);
    for (size_t at = 0; at < shown->length;) {
        const char *line = shown->at + at, *end = memchr(line, '\n', shown->length - at);
        const char *origin = end != NULL ? memrchr(line, '#', (size_t)(end - line)) : NULL;

        if (origin == NULL)
            return;
        if (strncmp(line, option, length) == 0 && strncmp(line + length, " = ", 3) == 0 &&
            strncmp(origin, "# default", 9) != 0)
            (void)snprintf(place, CONF_PLACE_LENGTH, "%.*s", (int)(end - origin) - 2, origin + 2);
        at = (size_t)(end - shown->at) + 1;
    }
}

static void metric_free(struct conf_metric *metric)
{
    conf_plugin_release(&metric->aggregate);
    for (size_t i = 0; i < metric->label_count; i++)
        free(metric->labels[i]);
    free(metric->labels);
    free(metric->key);
    free(metric->name);
    free(metric->help);
    free(metric->file);
}

void conf_free(struct conf *conf)
{
    if (conf == NULL)
        return;
    for (size_t i = 0; i < conf->metric_count; i++)
        metric_free(&conf->metrics[i]);
    free(conf->metrics);
    plugin_shelf_free(&conf->shelf);
    for (size_t i = 0; i < conf->plugin_path_count; i++)
        free(conf->plugin_path[i]);
    free(conf->plugin_path);
    free(conf->path);
    free(conf->listen.address);
    free(conf->http.address);
    free(conf->state_dir);
    free(conf->admin_socket);
    free(conf->crash_folder);
    free(conf->agent_label);
    text_free(&conf->effective);
    free(conf);
}
