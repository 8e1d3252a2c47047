/* SPDX-License-Identifier: Apache-2.0 */
#include "conf/conf_names.h"

#include <stdlib.h>
#include <string.h>

#include "base/scoped.h"

#define LETTERS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_"
#define DIGITS "0123456789"

enum {
    LONGEST_KEY = 1024, /* docs/protocol.md: no sample has a longer one */
    MOST_SAMPLES = 5,   /* names that one family can write */
};

static bool is_legal(const char *name)
{
    return name[0] != '\0' && strchr(LETTERS, name[0]) != NULL &&
           name[strspn(name, LETTERS DIGITS)] == '\0';
}

bool conf_legal_name(const char *key, size_t length, char *name)
{
    if (length == 0)
        return false;
    if (key[0] >= '0' && key[0] <= '9')
        *name++ = '_';
    for (size_t i = 0; i < length; i++)
        *name++ = key[i] != '\0' && strchr(LETTERS DIGITS, key[i]) != NULL ? key[i] : '_';
    *name = '\0';
    return true;
}

/* ---- Labels -------------------------------------------------------------------------------- */

/* Why a label can't have this name, or NULL. */
static const char *fault_of_label(const char *label)
{
    static const char *const reserved[] = {"le", "quantile", "overflow", "job", "instance"};

    if (!is_legal(label))
        return "is no label name (write letters, digits and _, and no digit first)";
    if (label[0] == '_')
        return "begins with _, which is reserved (leave the _ out)";
    for (size_t i = 0; i < sizeof reserved / sizeof *reserved; i++) {
        if (strcmp(label, reserved[i]) == 0)
            return "is a reserved label (choose another name)";
    }
    return NULL;
}

static const char *agent_label_of(const struct conf_tree *tree)
{
    const struct conf_statement *option = conf_find(&tree->root, "agent_label");

    return option != NULL && option->value_count > 0 ? option->values[0].text : "agent";
}

void conf_names_check_agent_label(struct conf_tree *tree)
{
    const struct conf_statement *option = conf_find(&tree->root, "agent_label");
    const char *label = agent_label_of(tree);
    const char *fault = label[0] != '\0' ? fault_of_label(label) : NULL;

    if (option != NULL && fault != NULL)
        conf_complain(tree, option->file, option->line, "agent_label \"%.60s\" %s", label, fault);
}

static bool is_repeated(const struct conf_statement *labels, size_t i)
{
    for (size_t j = 0; j < i; j++) {
        if (strcmp(labels->values[i].text, labels->values[j].text) == 0)
            return true;
    }
    return false;
}

static void check_labels(struct conf_tree *tree, const struct conf_statement *labels)
{
    if (labels != NULL && labels->value_count > CONF_MOST_LABELS) {
        conf_complain(tree, labels->file, labels->line,
                      "%zu labels are more than the %d that a metric can have (remove some)",
                      labels->value_count, CONF_MOST_LABELS);
        return;
    }
    for (size_t i = 0; labels != NULL && i < labels->value_count; i++) {
        const struct conf_value *value = &labels->values[i];
        const char *fault = fault_of_label(value->text);

        if (fault == NULL && strcmp(value->text, agent_label_of(tree)) == 0)
            fault = "is the agent label (choose another name, or another agent_label)";
        if (fault == NULL && is_repeated(labels, i))
            fault = "is there twice (remove one)";
        if (fault != NULL)
            conf_complain(tree, labels->file, value->line, "label \"%.60s\" %s", value->text,
                          fault);
    }
}

/* ---- Names --------------------------------------------------------------------------------- */

static bool is_reserved(const char *name)
{
    return strncmp(name, "rasad_", 6) == 0 || strncmp(name, "process_", 8) == 0 ||
           strncmp(name, "scrape_", 7) == 0;
}

void conf_names_check_metric(struct conf_tree *tree, const struct conf_statement *section,
                             const char *name)
{
    const struct conf_statement *option = conf_find(section, "name");
    const struct conf_statement *place = option != NULL ? option : section;

    if (section->title != NULL && strlen(section->title) > LONGEST_KEY)
        conf_complain(tree, section->file, section->line,
                      "the title has more than %d bytes, and no key does (write a shorter one)",
                      (int)LONGEST_KEY);
    if (name != NULL && !is_legal(name))
        conf_complain(tree, place->file, place->line,
                      "\"%.60s\" is no metric name (write letters, digits and _, and no digit "
                      "first)",
                      name);
    else if (name != NULL && is_reserved(name))
        conf_complain(tree, place->file, place->line,
                      "the name \"%.60s\" is reserved: rasad_, process_ and scrape_ are our own "
                      "(write name = \"…\" with another beginning)",
                      name);
    check_labels(tree, conf_find(section, "labels"));
}

/* ---- Clashes ------------------------------------------------------------------------------- */

/* A name that a metric's samples have, or its family in some format. */
struct claim {
    char *name; /* owned */
    size_t metric;
};

struct claims {
    struct claim *at;
    size_t count;
};

static void claims_free(struct claims *claims)
{
    for (size_t i = 0; i < claims->count; i++)
        free(claims->at[i].name);
    free(claims->at);
}

/* The length of the name that suffixes are added to: that of a counter is without its _total. */
static size_t stem_length(const struct conf_metric *metric)
{
    size_t length = strlen(metric->name);

    if (metric->aggregate.plugin->api.kind == RASAD_COUNTER && length > 6 &&
        strcmp(metric->name + length - 6, "_total") == 0)
        length -= 6;
    return length;
}

static bool add_claims(struct claims *claims, const struct conf_metric *metric, size_t index)
{
    static const char *const suffixes[][MOST_SAMPLES] = {
        [RASAD_GAUGE] = {""},
        [RASAD_COUNTER] = {"", "_total", "_created"},
        [RASAD_HISTOGRAM] = {"", "_bucket", "_sum", "_count", "_created"},
        [RASAD_SUMMARY] = {"", "_sum", "_count", "_created"},
    };
    const char *const *suffix = suffixes[metric->aggregate.plugin->api.kind];
    int length = (int)stem_length(metric);

    for (size_t i = 0; i < MOST_SAMPLES && suffix[i] != NULL; i++) {
        struct claim *claim = &claims->at[claims->count];

        claim->metric = index;
        if (asprintf(&claim->name, "%.*s%s", length, metric->name, suffix[i]) < 0)
            return false;
        claims->count++;
    }
    return true;
}

static int compare_claims(const void *left, const void *right)
{
    const struct claim *a = left, *b = right;
    int names = strcmp(a->name, b->name);

    return names != 0 ? names : (a->metric > b->metric) - (a->metric < b->metric);
}

static void complain_clash(struct conf_tree *tree, const struct conf_statement *const *sections,
                           const struct conf_metric *metrics, const struct claim *first,
                           const struct claim *again)
{
    const struct conf_statement *section = sections[again->metric];
    const struct conf_metric *one = &metrics[first->metric], *other = &metrics[again->metric];
    char place[256];

    if (strcmp(one->key, other->key) == 0)
        return; /* a title that is there twice is another complaint */
    conf_place(sections[first->metric], section->file, place);
    if (strcmp(one->name, other->name) == 0)
        conf_complain(tree, section->file, section->line,
                      "metric \"%.60s\" has the name \"%.60s\", as \"%.60s\" in %s has (write "
                      "another name = \"…\")",
                      other->key, other->name, one->key, place);
    else
        conf_complain(tree, section->file, section->line,
                      "metric \"%.60s\" clashes with \"%.60s\" in %s: both make \"%.80s\" (write "
                      "another name = \"…\")",
                      other->key, one->key, place, again->name);
}

/* One complaint is enough for a metric. */
static void complain_clashes(struct conf_tree *tree, const struct conf_statement *const *sections,
                             const struct conf_metric *metrics, size_t count,
                             const struct claims *claims)
{
    SCOPED(free_at) bool *done = calloc(count + 1, sizeof *done);

    if (done == NULL) {
        tree->failed = true;
        return;
    }
    for (size_t i = 0, first = 0; i < claims->count; i++) {
        const struct claim *claim = &claims->at[i];

        if (strcmp(claims->at[first].name, claim->name) != 0)
            first = i;
        if (claims->at[first].metric == claim->metric || done[claim->metric])
            continue;
        complain_clash(tree, sections, metrics, &claims->at[first], claim);
        done[claim->metric] = true;
    }
}

void conf_names_check_clashes(struct conf_tree *tree, const struct conf_statement *const *sections,
                              const struct conf_metric *metrics, size_t count)
{
    SCOPED(claims_free) struct claims claims = {0};

    if ((claims.at = calloc(count * MOST_SAMPLES + 1, sizeof *claims.at)) == NULL) {
        tree->failed = true;
        return;
    }
    for (size_t i = 0; i < count; i++) {
        if (metrics[i].name != NULL && metrics[i].aggregate.plugin != NULL &&
            !add_claims(&claims, &metrics[i], i)) {
            tree->failed = true;
            return;
        }
    }
    qsort(claims.at, claims.count, sizeof *claims.at, compare_claims);
    complain_clashes(tree, sections, metrics, count, &claims);
}
