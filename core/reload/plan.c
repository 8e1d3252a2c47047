/* SPDX-License-Identifier: Apache-2.0 */
#include "reload/plan.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/scoped.h"

static const char *const words[] = {
    [PLAN_KEPT] = "kept",           [PLAN_ADDED] = "added",       [PLAN_REMOVED] = "removed",
    [PLAN_RESTARTED] = "restarted", [PLAN_MIGRATED] = "migrated",
};

void plan_free(struct plan *plan)
{
    for (size_t i = 0; i < plan->count; i++) {
        free(plan->rows[i].metric);
        free(plan->rows[i].detail);
    }
    free(plan->rows);
    *plan = (struct plan){0};
}

/* ---- What needs a restart ------------------------------------------------------------------ */

static void complain_main(const struct conf *to, const char *option, struct text *report)
{
    char place[CONF_PLACE_LENGTH];

    conf_place_of(to, option, place);
    text_printf(report, "%s: \"%s\" can't change while the server runs (it needs a restart)\n",
                place, option);
}

static bool check_main(const struct conf *from, const struct conf *to, struct text *report)
{
    const struct {
        const char *name;
        bool changed;
    } options[] = {
        {"state_dir", strcmp(from->state_dir, to->state_dir) != 0},
        {"threads", from->threads != to->threads},
        {"agent_label", strcmp(from->agent_label, to->agent_label) != 0},
        {"admin_socket", strcmp(from->admin_socket, to->admin_socket) != 0},
    };
    bool fine = true;

    for (size_t i = 0; i < sizeof options / sizeof *options; i++) {
        if (options[i].changed)
            complain_main(to, options[i].name, report);
        fine &= !options[i].changed;
    }
    return fine;
}

/* ---- One section --------------------------------------------------------------------------- */

/* The name of the first option in which two shapes differ: a line for each, `buckets = { 1, 2 }`.
 */
static void tell_option(const char *from, const char *to, struct text *detail)
{
    size_t line = 0;

    for (size_t i = 0; from[i] != '\0' && from[i] == to[i]; i++) {
        if (from[i] == '\n')
            line = i + 1;
    }
    if (to[line] == '\0' || to[line] == '}')
        to = from; /* the new plugin has no such option any more */
    line += strspn(to + line, " ");
    text_add(detail, to + line, strcspn(to + line, " "));
}

/* Whether states can't go on; if so, `detail` says why. */
static bool begins_anew(const struct conf_metric *from, const struct conf_metric *to,
                        struct text *detail)
{
    const struct aggregate *old = &from->aggregate, *new = &to->aggregate;
    const struct rasad_plugin *was = &old->plugin->api, *is = &new->plugin->api;

    if (strcmp(was->name, is->name) != 0) {
        text_printf(detail, "plugin %s → %s", was->name, is->name);
    } else if (was->kind != is->kind) {
        text_add_string(detail, "kind changed");
    } else if (from->is_glob != to->is_glob ||
               (from->is_glob && (from->name == NULL) != (to->name == NULL))) {
        text_add_string(detail, "name changed");
    } else if (strcmp(old->shape, new->shape) != 0) {
        tell_option(old->shape, new->shape, detail);
        text_add_string(detail, " changed");
    } else if (!new->plugin->migrates && was->state_version < is->state_version) {
        text_printf(detail, "state version %u → %u, and the plugin has no migrate()",
                    was->state_version, is->state_version);
    } else if (!new->plugin->migrates && was->state_version == is->state_version &&
               old->exact_size != new->exact_size) {
        text_printf(detail, "a state takes %zu bytes, not %zu", new->exact_size, old->exact_size);
    } else {
        return false;
    }
    return true;
}

static bool has_same_labels(const struct conf_metric *from, const struct conf_metric *to)
{
    if (from->label_count != to->label_count)
        return false;
    for (size_t i = 0; i < to->label_count; i++) {
        if (strcmp(from->labels[i], to->labels[i]) != 0)
            return false;
    }
    return true;
}

bool plan_relabels(const struct plan_row *row)
{
    return !has_same_labels(row->from, row->to);
}

bool plan_merges(const struct plan_row *row)
{
    const struct conf_metric *from = row->from, *to = row->to;

    for (size_t i = 0; i < from->label_count; i++) {
        bool stays = false;

        for (size_t j = 0; j < to->label_count; j++)
            stays |= strcmp(from->labels[i], to->labels[j]) == 0;
        if (!stays)
            return true;
    }
    return false;
}

static bool is_same_name(const struct conf_metric *from, const struct conf_metric *to)
{
    return from->name == to->name ||
           (from->name != NULL && to->name != NULL && strcmp(from->name, to->name) == 0);
}

/* Behind the first line of a section's text, which has its title. */
static const char *options_of(const struct conf_metric *metric)
{
    const char *end = strchr(metric->aggregate.section, '\n');

    return end != NULL ? end + 1 : "";
}

/* What of a section that goes on is not as it was. */
static void tell_changes(const struct conf_metric *from, const struct conf_metric *to,
                         struct text *detail)
{
    bool isolated = from->aggregate.isolate != NULL, isolates = to->aggregate.isolate != NULL;
    const struct {
        const char *name;
        bool changed;
    } parts[] = {
        {"plugin", from->aggregate.plugin != to->aggregate.plugin && isolates == isolated},
        {"isolate", isolates != isolated},
        {"name", !is_same_name(from, to)},
        {"help", strcmp(from->help, to->help) != 0},
        {"labels", !has_same_labels(from, to)},
        {"expire", from->expire_ns != to->expire_ns},
        {"max_series", from->max_series != to->max_series},
        {"max_families", from->max_families != to->max_families},
    };
    bool any = false;

    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        if (!parts[i].changed)
            continue;
        text_add_string(detail, any ? ", " : detail->length > 0 ? "; new " : "new ");
        text_add_string(detail, parts[i].name);
        any = true;
    }
    if (strcmp(options_of(from), options_of(to)) == 0)
        return;
    text_add_string(detail, any ? ", " : detail->length > 0 ? "; new " : "new ");
    tell_option(options_of(from), options_of(to), detail);
}

/* What becomes of a section that both confs have. */
static enum plan_change compare(const struct conf_metric *from, const struct conf_metric *to,
                                struct text *detail)
{
    const struct aggregate *old = &from->aggregate, *new = &to->aggregate;
    uint32_t was = old->plugin->api.state_version, is = new->plugin->api.state_version;
    bool migrates = was != is || old->exact_size != new->exact_size;

    if (begins_anew(from, to, detail))
        return PLAN_RESTARTED;
    if (was != is)
        text_printf(detail, "%u → %u", was, is);
    else if (migrates)
        text_printf(detail, "%zu bytes → %zu", old->exact_size, new->exact_size);
    tell_changes(from, to, detail);
    return migrates ? PLAN_MIGRATED : PLAN_KEPT;
}

/* A state of a newer version is not thrown away by going back to an older plugin. */
static bool check_version(const struct conf_metric *from, const struct conf_metric *to,
                          struct text *report)
{
    const struct rasad_plugin *was = &from->aggregate.plugin->api, *is = &to->aggregate.plugin->api;

    if (strcmp(was->name, is->name) != 0 || was->state_version <= is->state_version ||
        to->aggregate.plugin->migrates)
        return true;
    text_printf(report,
                "%s:%d: plugin \"%s\" %s makes states of version %u and has no migrate() for those "
                "of version %u that there are (put the newer plugin back)\n",
                to->file, to->line, is->name, is->version, is->state_version, was->state_version);
    return false;
}

/* ---- The whole ----------------------------------------------------------------------------- */

/* The older section that goes on in this one: of the same title, or else of the same name. */
static const struct conf_metric *find_older(const struct conf *from, const struct conf *to,
                                            const struct conf_metric *metric)
{
    for (size_t i = 0; i < from->metric_count; i++) {
        if (strcmp(from->metrics[i].key, metric->key) == 0)
            return &from->metrics[i];
    }
    for (size_t i = 0; i < from->metric_count && !metric->is_glob; i++) {
        const struct conf_metric *older = &from->metrics[i];
        bool goes_on_itself = false;

        if (older->is_glob || strcmp(older->name, metric->name) != 0)
            continue;
        for (size_t j = 0; j < to->metric_count; j++)
            goes_on_itself |= strcmp(to->metrics[j].key, older->key) == 0;
        return goes_on_itself ? NULL : older;
    }
    return NULL;
}

static bool add_row(struct plan *plan, const struct conf_metric *from, const struct conf_metric *to,
                    enum plan_change change, struct text *detail)
{
    struct plan_row *row = &plan->rows[plan->count++];

    *row = (struct plan_row){.action = words[change], .change = change, .from = from, .to = to};
    row->metric = strdup(to != NULL ? to->key : from->key);
    row->detail = detail->length > 0 ? strdup(text_end(detail)) : NULL;
    return row->metric != NULL && !detail->failed && (row->detail != NULL || detail->length == 0);
}

const struct plan_row *plan_find(const struct plan *plan, const struct conf_metric *from)
{
    for (size_t i = 0; i < plan->count; i++) {
        if (plan->rows[i].from == from)
            return &plan->rows[i];
    }
    return NULL;
}

static bool add_new_sections(const struct conf *from, const struct conf *to, struct plan *plan,
                             bool *fine, struct text *report)
{
    for (size_t i = 0; i < to->metric_count; i++) {
        SCOPED(text_free) struct text detail = {0};
        const struct conf_metric *metric = &to->metrics[i];
        const struct conf_metric *older = find_older(from, to, metric);
        enum plan_change change = PLAN_ADDED;

        if (older != NULL) {
            *fine &= check_version(older, metric, report);
            change = compare(older, metric, &detail);
        }
        if (!add_row(plan, older, metric, change, &detail))
            return false;
    }
    return true;
}

static bool add_gone_sections(const struct conf *from, struct plan *plan)
{
    struct text none = {0};

    for (size_t i = 0; i < from->metric_count; i++) {
        if (plan_find(plan, &from->metrics[i]) == NULL &&
            !add_row(plan, &from->metrics[i], NULL, PLAN_REMOVED, &none))
            return false;
    }
    return true;
}

bool plan_make(const struct conf *from, const struct conf *to, struct plan *plan,
               struct text *report)
{
    SCOPED(plan_free) struct plan made = {0};
    bool fine = check_main(from, to, report);

    made.rows = calloc(from->metric_count + to->metric_count + 1, sizeof *made.rows);
    if (made.rows == NULL || !add_new_sections(from, to, &made, &fine, report) ||
        !add_gone_sections(from, &made)) {
        text_add_string(report, "out of memory\n");
        return false;
    }
    if (!fine)
        return false;
    *plan = made;
    made = (struct plan){0};
    return true;
}
