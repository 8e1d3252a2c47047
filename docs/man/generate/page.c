/* SPDX-License-Identifier: Apache-2.0 */
#include "page.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/conf_cell.h"
#include "base/scoped.h"

#define MARK ".\\\" TABLE "

void page_part_free(struct page_part *part)
{
    text_free(&part->text);
}

/* ---- Texts as roff ------------------------------------------------------------------------- */

/* A hyphen stands between letters; any other '-' shall be copied as it is typed. */
static void add_dash(struct text *out, char before, char after)
{
    bool is_hyphen = isalnum((unsigned char)before) != 0 && isalnum((unsigned char)after) != 0;

    text_add_string(out, is_hyphen ? "-" : "\\-");
}

/* What roff would take for something else, outside of quotes and inside. */
static void add_character(struct text *out, char c)
{
    switch (c) {
    case '\\':
        text_add_string(out, "\\e");
        break;
    case '"':
        text_add_string(out, "\\(dq");
        break;
    case '^':
        text_add_string(out, "\\(ha");
        break;
    case '~':
        text_add_string(out, "\\(ti");
        break;
    case '`':
        text_add_string(out, "\\(ga");
        break;
    default:
        text_add_char(out, c);
        break;
    }
}

static void add_word(struct text *out, const char *word)
{
    for (const char *c = word; *c != '\0'; c++) {
        if (*c == '-')
            text_add_string(out, "\\-");
        else
            add_character(out, *c);
    }
}

void page_add_prose(struct text *out, const char *prose)
{
    char before = '\n';

    for (const char *c = prose; *c != '\0'; before = *c++) {
        if (*c == ' ' && before == '.') {
            text_add_char(out, '\n');
            continue;
        }
        if ((before == '\n' || before == '.') && (*c == '.' || *c == '\''))
            text_add_string(out, "\\&"); /* no request */
        if (*c == '-')
            add_dash(out, before, c[1]);
        else
            add_character(out, *c);
    }
    text_add_string(out, before == '.' ? "\n" : ".\n");
}

/* ---- Options ------------------------------------------------------------------------------- */

static bool is_quoted(uint32_t type)
{
    uint32_t one = conf_type_of_one(type);

    return one == RASAD_OPTION_TYPE_TEXT || one == RASAD_OPTION_TYPE_DURATION;
}

/* What stands for one value. */
static const char *placeholder(uint32_t type)
{
    switch (conf_type_of_one(type)) {
    case RASAD_OPTION_TYPE_BOOL:
        return "true | false";
    case RASAD_OPTION_TYPE_DURATION:
        return "\\(dq\\fIDURATION\\fR\\(dq";
    case RASAD_OPTION_TYPE_TEXT:
        return "\\(dq\\fITEXT\\fR\\(dq";
    default:
        return "\\fINUMBER\\fR";
    }
}

static void add_tag(struct text *out, const struct rasad_option *option)
{
    const char *value = placeholder(option->type);

    text_printf(out, ".TP\n.BR %s ", option->name);
    if (conf_is_list(option->type))
        text_printf(out, "\" = { %s, ... }\"\n", value);
    else
        text_printf(out, "\" = %s\"\n", value);
}

static bool is_bound(const struct rasad_option *option, const char *bound)
{
    return bound != NULL && !(conf_may_be_never(option) && strcmp(bound, "never") == 0);
}

static void add_bounds(struct text *out, const struct rasad_option *option)
{
    bool has_min = is_bound(option, option->min), has_max = is_bound(option, option->max);
    const char *of = conf_is_list(option->type) ? "Each from " : "From ";

    if (has_min && has_max)
        text_printf(out, "%s%s to %s.\n", of, option->min, option->max);
    else if (has_min)
        text_printf(out, "At least %s.\n", option->min);
    else if (has_max)
        text_printf(out, "At most %s.\n", option->max);
    if (conf_may_be_never(option))
        text_add_string(out, "Or \\(dqnever\\(dq.\n");
}

/* An empty preset is told by the help: what it means differs. */
static void add_preset(struct text *out, const struct rasad_option *option)
{
    const char *quote = is_quoted(option->type) ? "\\(dq" : "";

    if (option->preset == NULL) {
        text_add_string(out, "It must be there.\n");
    } else if (option->preset[0] != '\0') {
        text_printf(out, "Default: %s", conf_is_list(option->type) ? "{ " : quote);
        add_word(out, option->preset);
        text_printf(out, "%s.\n", conf_is_list(option->type) ? " }" : quote);
    }
}

bool page_add_options(struct text *out, const struct rasad_option *options, size_t count,
                      struct rasad_error *error)
{
    for (size_t i = 0; i < count; i++) {
        if (options[i].help == NULL || options[i].help[0] == '\0')
            return rasad_fail(error, "option \"%s\" has no help", options[i].name);
        add_tag(out, &options[i]);
        page_add_prose(out, options[i].help);
        add_bounds(out, &options[i]);
        add_preset(out, &options[i]);
        if ((options[i].flags & RASAD_OPTION_RESTARTS) != 0)
            text_add_string(out, "When it changes, the metric's series begin anew.\n");
    }
    return true;
}

bool page_add_section(struct text *out, const struct conf_section *schema, const char *name,
                      struct rasad_error *error)
{
    for (size_t i = 0; i < schema->section_count; i++) {
        const struct conf_section *section = &schema->sections[i];

        if (strcmp(section->name, name) == 0)
            return page_add_options(out, section->options, section->option_count, error);
    }
    return rasad_fail(error, "there is no section \"%s\"", name);
}

/* ---- The page ------------------------------------------------------------------------------ */

/* Puts in the part that the line asks for. */
static bool add_part(struct text *page, const char *line, const struct page_part *parts,
                     size_t count, size_t *used, struct rasad_error *error)
{
    for (size_t i = 0; i < count; i++) {
        if (strcmp(line + strlen(MARK), parts[i].name) != 0)
            continue;
        page->failed |= parts[i].text.failed;
        text_add(page, parts[i].text.at, parts[i].text.length);
        ++*used;
        return true;
    }
    return rasad_fail(error, "there is no table for \"%s\"", line);
}

static bool fill(FILE *template, struct text *page, const struct page_part *parts, size_t count,
                 struct rasad_error *error)
{
    SCOPED(free_at) char *line = NULL;
    size_t size = 0, used = 0;

    while (getline(&line, &size, template) >= 0) {
        line[strcspn(line, "\n")] = '\0';
        if (strncmp(line, MARK, strlen(MARK)) != 0)
            text_printf(page, "%s\n", line);
        else if (!add_part(page, line, parts, count, &used, error))
            return false;
    }
    if (page->failed || ferror(template) != 0)
        return rasad_fail(error, "cannot be read");
    return used == count || rasad_fail(error, "has %zu of %zu tables", used, count);
}

bool page_write(const char *template_path, const char *page_path, const struct page_part *parts,
                size_t count, struct rasad_error *error)
{
    FILE *template = fopen(template_path, "re"), *file;
    SCOPED(text_free) struct text page = {0};
    bool fine;

    if (template == NULL)
        return rasad_fail(error, "%s: %s", template_path, strerror(errno));
    fine = fill(template, &page, parts, count, error);
    (void)fclose(template);
    if (!fine)
        return rasad_fail_at(error, "%s", template_path);
    if ((file = fopen(page_path, "we")) == NULL)
        return rasad_fail(error, "%s: %s", page_path, strerror(errno));
    fine = fwrite(page.at, 1, page.length, file) == page.length;
    fine = fclose(file) == 0 && fine;
    return fine || rasad_fail(error, "%s: cannot be written", page_path);
}
