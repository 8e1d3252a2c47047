/* SPDX-License-Identifier: Apache-2.0 */
#include "base/conf_values.h"

#include <confuse.h>
#include <stdlib.h>
#include <string.h>

#include "base/conf_cell.h"
#include "base/error.h"
#include "base/scoped.h"

/* What libconfuse's error function must know; see confuse_option(). */
struct reading {
    struct conf_tree *tree;
    const struct conf_statement *option;
};

/* The options of one parse: the one that is read, a place for our pointer, and the end. */
enum { OPTION_READ, OPTION_OURS, OPTION_END, OPTION_COUNT };

static void complain_confuse(cfg_t *cfg, const char *format, va_list arguments)
{
    const struct reading *reading = (const void *)cfg->opts[OPTION_OURS].simple_value.ptr;
    char message[256];

    (void)vsnprintf(message, sizeof message, format, arguments);
    conf_complain(reading->tree, reading->option->file, reading->option->line + cfg->line - 1,
                  "%s (correct the value)", message);
}

static cfg_opt_t confuse_option(const struct rasad_option *row)
{
    static const cfg_type_t types[] = {
        [RASAD_OPTION_TYPE_NUMBER] = CFGT_FLOAT, [RASAD_OPTION_TYPE_INTEGER] = CFGT_INT,
        [RASAD_OPTION_TYPE_BOOL] = CFGT_BOOL,    [RASAD_OPTION_TYPE_TEXT] = CFGT_STR,
        [RASAD_OPTION_TYPE_DURATION] = CFGT_STR,
    };

    return (cfg_opt_t){
        .name = row->name,
        .type = types[conf_type_of_one(row->type)],
        .flags = CFGF_NODEFAULT | (conf_is_list(row->type) ? CFGF_LIST : CFGF_NONE),
    };
}

/* What libconfuse has read, as a cell. */
static bool take_confuse(cfg_opt_t *option, unsigned i, const struct rasad_option *row,
                         struct conf_cell *cell)
{
    switch (conf_type_of_one(row->type)) {
    case RASAD_OPTION_TYPE_NUMBER:
        cell->number = cfg_opt_getnfloat(option, i);
        return true;
    case RASAD_OPTION_TYPE_INTEGER:
        cell->integer = cfg_opt_getnint(option, i);
        return true;
    case RASAD_OPTION_TYPE_BOOL:
        cell->flag = cfg_opt_getnbool(option, i) == cfg_true;
        return true;
    case RASAD_OPTION_TYPE_DURATION:
        return conf_cell_parse(row, cfg_opt_getnstr(option, i), cell);
    default:
        cell->text = strdup(cfg_opt_getnstr(option, i));
        return cell->text != NULL;
    }
}

static void cfg_free_at(cfg_t **cfg)
{
    if (*cfg != NULL)
        (void)cfg_free(*cfg);
}

static bool collect_confuse(cfg_opt_t *option, const struct rasad_option *row,
                            struct conf_cells *cells)
{
    unsigned count = cfg_opt_size(option);

    if ((cells->at = calloc(count + 1, sizeof *cells->at)) == NULL)
        return false;
    cells->count = count;
    for (unsigned i = 0; i < count; i++) {
        if (!take_confuse(option, i, row, &cells->at[i]))
            return false;
    }
    return true;
}

/*
 * Reads one option's bytes with libconfuse. A parse of its own for each, so that the options that
 * a plugin declares, sections and includes need nothing special, and a line is always known.
 * The error function gets no argument of ours: an option that no conf can name carries it.
 */
static bool read_option(struct conf_tree *tree, const struct conf_statement *statement,
                        const struct rasad_option *row, struct conf_cells *cells)
{
    struct reading reading = {.tree = tree, .option = statement};
    cfg_opt_t options[OPTION_COUNT] = {
        [OPTION_READ] = confuse_option(row),
        [OPTION_OURS] = {.name = " ", .type = CFGT_PTR, .simple_value = {.ptr = (void *)&reading}},
        [OPTION_END] = CFG_END(),
    };
    SCOPED(free_at)
    char *bytes =
        strndup(statement->file->bytes + statement->start, statement->end - statement->start);
    SCOPED(cfg_free_at) cfg_t *cfg = bytes != NULL ? cfg_init(options, CFGF_NONE) : NULL;

    if (cfg == NULL) {
        tree->failed = true;
        return false;
    }
    (void)cfg_set_error_function(cfg, complain_confuse);
    if (cfg_parse_buf(cfg, bytes) != CFG_SUCCESS) {
        if (conf_tree_ok(tree)) /* it complained of nothing, so it must be out of memory */
            tree->failed = true;
        return false;
    }
    if (!collect_confuse(&cfg->opts[OPTION_READ], row, cells)) {
        tree->failed = true;
        return false;
    }
    return true;
}

/* Adds the cell of one preset; takes the text. */
static bool add_preset(const struct rasad_option *row, char *text, struct conf_cells *cells)
{
    struct conf_cell *grown = reallocarray(cells->at, cells->count + 1, sizeof *grown);
    struct conf_cell cell = {.text = text};

    if (grown == NULL || text == NULL || !conf_cell_parse(row, text, &cell)) {
        if (grown != NULL)
            cells->at = grown;
        free(text);
        return false;
    }
    cells->at = grown;
    grown[cells->count++] = cell;
    return true;
}

/* A preset as values: a list is split at its commas. */
static bool read_preset(const struct rasad_option *row, struct conf_cells *cells)
{
    const char *at = row->preset;

    if (!conf_is_list(row->type))
        return add_preset(row, strdup(at), cells);
    while (at[strspn(at, " ")] != '\0') {
        size_t length;

        at += strspn(at, " ");
        length = strcspn(at, ",");
        while (length > 0 && at[length - 1] == ' ')
            length--;
        if (!add_preset(row, strndup(at, length), cells))
            return false;
        at += strcspn(at, ",");
        at += *at == ',';
    }
    return true;
}

static bool store_numbers(const struct conf_cells *cells, struct rasad_numbers *numbers)
{
    double *at = calloc(cells->count + 1, sizeof *at);

    if (at == NULL)
        return false;
    for (size_t i = 0; i < cells->count; i++)
        at[i] = cells->at[i].number;
    *numbers = (struct rasad_numbers){.at = at, .count = cells->count};
    return true;
}

static bool store_texts(const struct conf_cells *cells, struct rasad_texts *texts)
{
    char **at = calloc(cells->count + 1, sizeof(char *));

    if (at == NULL)
        return false;
    for (size_t i = 0; i < cells->count; i++)
        at[i] = TAKE(cells->at[i].text);
    *texts = (struct rasad_texts){.at = (const char *const *)at, .count = cells->count};
    return true;
}

/* Puts the cells where the row says; texts are taken out of them. */
static bool store(const struct rasad_option *row, const struct conf_cells *cells, void *into)
{
    void *member = (char *)into + row->offset;

    if (row->type == RASAD_OPTION_TYPE_NUMBERS)
        return store_numbers(cells, member);
    if (row->type == RASAD_OPTION_TYPE_TEXTS)
        return store_texts(cells, member);
    if (cells->count != 1)
        return false;
    if (row->type == RASAD_OPTION_TYPE_NUMBER)
        *(double *)member = cells->at->number;
    else if (row->type == RASAD_OPTION_TYPE_BOOL)
        *(bool *)member = cells->at->flag;
    else if (row->type == RASAD_OPTION_TYPE_TEXT)
        *(char **)member = TAKE(cells->at->text);
    else
        *(int64_t *)member = cells->at->integer;
    return true;
}

bool conf_fill(struct conf_tree *tree, const struct conf_statement *section,
               const struct rasad_option *options, size_t count, void *into)
{
    bool all = true;

    for (size_t i = 0; i < count; i++) {
        const struct conf_statement *statement = conf_find(section, options[i].name);
        SCOPED(conf_cells_free) struct conf_cells cells = {0};

        if (statement != NULL &&
            (statement->is_broken || !read_option(tree, statement, &options[i], &cells))) {
            all = false;
        } else if ((statement == NULL &&
                    (options[i].preset == NULL || !read_preset(&options[i], &cells))) ||
                   !store(&options[i], &cells, into)) {
            tree->failed = true;
            all = false;
        }
    }
    return all;
}

void conf_empty(const struct rasad_option *options, size_t count, void *filled)
{
    for (size_t i = 0; i < count; i++) {
        void *member = (char *)filled + options[i].offset;

        if (options[i].type == RASAD_OPTION_TYPE_TEXT) {
            free(*(char **)member);
            *(char **)member = NULL;
        } else if (options[i].type == RASAD_OPTION_TYPE_NUMBERS) {
            free((void *)((struct rasad_numbers *)member)->at);
            *(struct rasad_numbers *)member = (struct rasad_numbers){0};
        } else if (options[i].type == RASAD_OPTION_TYPE_TEXTS) {
            struct rasad_texts *texts = member;

            for (uint64_t j = 0; j < texts->count; j++)
                free((void *)texts->at[j]);
            free((void *)texts->at);
            *texts = (struct rasad_texts){0};
        }
    }
}

static bool check_row(const struct rasad_option *row, struct rasad_error *error)
{
    SCOPED(conf_cells_free) struct conf_cells cells = {0};
    struct conf_cell bound = {0};

    if (row->min != NULL && !conf_cell_parse(row, row->min, &bound))
        return rasad_fail(error, "the least value of option \"%s\" makes no sense: \"%s\"",
                          row->name, row->min);
    if (row->max != NULL && !conf_cell_parse(row, row->max, &bound))
        return rasad_fail(error, "the greatest value of option \"%s\" makes no sense: \"%s\"",
                          row->name, row->max);
    if (row->preset == NULL)
        return true;
    if (!read_preset(row, &cells))
        return rasad_fail(error, "the preset of option \"%s\" makes no sense: \"%s\"", row->name,
                          row->preset);
    for (size_t i = 0; i < cells.count; i++) {
        if (conf_cell_is_beyond(row, &cells.at[i], -1) || conf_cell_is_beyond(row, &cells.at[i], 1))
            return rasad_fail(error, "the preset of option \"%s\" is out of its bounds: \"%s\"",
                              row->name, row->preset);
    }
    return true;
}

bool conf_check_rows(const struct rasad_option *options, size_t count, struct rasad_error *error)
{
    for (size_t i = 0; i < count; i++) {
        if (!check_row(&options[i], error))
            return false;
    }
    return true;
}
