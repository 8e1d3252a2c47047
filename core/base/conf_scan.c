/* SPDX-License-Identifier: Apache-2.0 */
#include "base/conf_scan.h"

#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/conf_lex.h"
#include "base/scoped.h"

enum {
    DEEPEST_INCLUDE = 10,
    MOST_FILES = 1000,
    MOST_COMPLAINTS = 1000,
    LARGEST_FILE = 16 << 20,
};

/* The files that are being read: who includes whom. */
struct chain {
    const struct chain *up;
    int depth;
    dev_t device;
    ino_t inode;
};

struct scanner {
    struct conf_tree *tree;
    const struct conf_file *file;
    struct conf_token *next;
    const struct chain *chain;
};

static void scan_file(struct conf_tree *tree, const char *path, const struct chain *up,
                      const struct conf_file *from, int line);
static void scan_statements(struct scanner *scanner, struct conf_statement *section);

/* ---- Complaints ---------------------------------------------------------------------------- */

/* Escapes what could forge a line, but leaves quotes and backslashes alone: they are ours, too. */
static char *printable(const char *message, size_t length)
{
    SCOPED(text_free) struct text text = {0};

    for (size_t i = 0; i < length;) {
        size_t run = 0;

        while (i + run < length && message[i + run] != '"' && message[i + run] != '\\')
            run++;
        text_add_escaped(&text, message + i, run);
        if (i + run < length)
            text_add_char(&text, message[i + run]);
        i += run + 1;
    }
    return text.failed ? NULL : strdup(text_end(&text));
}

/* The first complaint that comes behind this line. */
static size_t place_of(const struct conf_tree *tree, const struct conf_file *file, int line)
{
    size_t i = tree->complaint_count;

    while (i > 0) {
        const struct conf_complaint *before = &tree->complaints[i - 1];

        if (before->file->order < file->order ||
            (before->file->order == file->order && before->line <= line))
            break;
        i--;
    }
    return i;
}

static bool has_syntax_complaint(const struct conf_tree *tree, const struct conf_file *file,
                                 int line)
{
    for (size_t i = place_of(tree, file, line); i > 0; i--) {
        const struct conf_complaint *before = &tree->complaints[i - 1];

        if (before->file != file || before->line != line)
            return false;
        if (before->is_syntax)
            return true;
    }
    return false;
}

static void complain(struct conf_tree *tree, struct conf_complaint complaint, const char *format,
                     va_list arguments)
{
    SCOPED(free_at) char *message = NULL;
    struct conf_complaint *grown;
    size_t place;
    int length;

    if (tree->complaint_count == MOST_COMPLAINTS ||
        has_syntax_complaint(tree, complaint.file, complaint.line))
        return;
    grown = reallocarray(tree->complaints, tree->complaint_count + 1, sizeof *grown);
    if (grown != NULL)
        tree->complaints = grown;
    length = vasprintf(&message, format, arguments);
    if (length < 0)
        message = NULL; /* vasprintf() leaves it undefined */
    complaint.text = message != NULL ? printable(message, (size_t)length) : NULL;
    if (grown == NULL || complaint.text == NULL) {
        free(complaint.text);
        tree->failed = true;
        return;
    }
    place = place_of(tree, complaint.file, complaint.line);
    memmove(grown + place + 1, grown + place, (tree->complaint_count - place) * sizeof *grown);
    grown[place] = complaint;
    tree->complaint_count++;
}

void conf_complain(struct conf_tree *tree, const struct conf_file *file, int line,
                   const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    complain(tree, (struct conf_complaint){.file = file, .line = line}, format, arguments);
    va_end(arguments);
}

void conf_complain_syntax(struct conf_tree *tree, const struct conf_file *file, int line,
                          const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    complain(tree, (struct conf_complaint){.file = file, .line = line, .is_syntax = true}, format,
             arguments);
    va_end(arguments);
}

bool conf_tree_ok(const struct conf_tree *tree)
{
    return tree->complaint_count == 0 && !tree->failed;
}

void conf_tree_report(const struct conf_tree *tree, struct text *report)
{
    for (size_t i = 0; i < tree->complaint_count; i++) {
        const struct conf_complaint *complaint = &tree->complaints[i];

        text_printf(report, "%s:%d: %s\n", complaint->file->path, complaint->line, complaint->text);
    }
    if (tree->complaint_count == MOST_COMPLAINTS)
        text_printf(report, "%s: there may be more errors than these %d\n", tree->root.file->path,
                    (int)MOST_COMPLAINTS);
    if (tree->failed)
        text_add_string(report, "out of memory while reading the conf\n");
}

/* ---- Tokens -------------------------------------------------------------------------------- */

static bool is_word(const struct conf_token *token)
{
    return token->kind == CONF_WORD || token->kind == CONF_QUOTED;
}

/* Whether the word can name an option or a section. */
static bool is_name(const struct conf_token *token)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_";

    return token->kind == CONF_WORD && strchr(letters, token->text[0]) != NULL &&
           token->text[strspn(token->text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_-."
                                           "0123456789")] == '\0';
}

/* Moves on; the token's text may still be taken. The end is never passed. */
static struct conf_token *take(struct scanner *scanner)
{
    struct conf_token *token = scanner->next;

    if (token->kind != CONF_END)
        scanner->next++;
    return token;
}

static void complain_unexpected(struct scanner *scanner, const struct conf_token *token,
                                const char *wanted)
{
    const struct conf_file *file = scanner->file;
    int length = (int)(token->end - token->start);

    if (token->kind == CONF_END)
        conf_complain_syntax(scanner->tree, file, token->line, "the file ends too early (%s)",
                             wanted);
    else
        conf_complain_syntax(scanner->tree, file, token->line, "unexpected %.*s (%s)",
                             length < 80 ? length : 80, file->bytes + token->start, wanted);
}

/* Goes on behind the brace or parenthesis that belongs to the one that comes next. */
static void skip_pair(struct scanner *scanner)
{
    int depth = 0;

    do {
        const struct conf_token *token = take(scanner);

        depth += token->kind == CONF_OPEN || token->kind == CONF_LEFT;
        depth -= token->kind == CONF_CLOSE || token->kind == CONF_RIGHT;
    } while (depth > 0 && scanner->next->kind != CONF_END);
}

/* ---- Statements ---------------------------------------------------------------------------- */

static void statement_free(struct conf_statement *statement)
{
    for (size_t i = 0; i < statement->value_count; i++)
        free(statement->values[i].text);
    for (size_t i = 0; i < statement->child_count; i++)
        statement_free(&statement->children[i]);
    free(statement->values);
    free(statement->children);
    free(statement->name);
    free(statement->title);
}

/* Moves the statement into the section. */
static void add_child(struct scanner *scanner, struct conf_statement *section,
                      struct conf_statement *child)
{
    size_t count = section->child_count;

    if ((count & (count + 1)) == 0) { /* as in conf_lex.c: full, so double it */
        struct conf_statement *grown =
            reallocarray(section->children, 2 * (count + 1), sizeof *grown);

        if (grown == NULL) {
            scanner->tree->failed = true;
            statement_free(child);
            return;
        }
        section->children = grown;
    }
    section->children[section->child_count++] = *child;
}

/* Takes the word that comes next for a value. */
static void take_value(struct scanner *scanner, struct conf_statement *option)
{
    size_t count = option->value_count;
    struct conf_token *token = take(scanner);

    option->end = token->end;
    if ((count & (count + 1)) == 0) {
        struct conf_value *grown = reallocarray(option->values, 2 * (count + 1), sizeof *grown);

        if (grown == NULL) {
            scanner->tree->failed = true;
            return;
        }
        option->values = grown;
    }
    option->values[option->value_count++] =
        (struct conf_value){.text = TAKE(token->text), .line = token->line};
}

/* Whether a new statement begins here, where a value is wanted: only if the word can't be a value,
 * so nothing that libconfuse takes is misread. */
static bool begins_statement(const struct conf_token *token)
{
    return is_name(&token[0]) && (token[1].kind == CONF_EQUALS || token[1].kind == CONF_OPEN ||
                                  (token[1].kind == CONF_QUOTED && token[2].kind == CONF_OPEN));
}

/* { value, value }; a comma behind the last one is fine. */
static void scan_list(struct scanner *scanner, struct conf_statement *option)
{
    const struct conf_token *open = take(scanner);

    option->is_list = true;
    option->end = open->end;
    while (is_word(scanner->next) && !begins_statement(scanner->next)) {
        take_value(scanner, option);
        if (scanner->next->kind == CONF_COMMA)
            option->end = take(scanner)->end;
        else if (is_word(scanner->next) && !begins_statement(scanner->next))
            conf_complain(scanner->tree, scanner->file, scanner->next->line,
                          "missing \",\" in the list of \"%s\" (write one in front of \"%.60s\")",
                          option->name, scanner->next->text);
    }
    if (scanner->next->kind == CONF_CLOSE)
        option->end = take(scanner)->end;
    else if (scanner->next->kind == CONF_COMMA)
        complain_unexpected(scanner, take(scanner), "write one \",\" between two values");
    else
        conf_complain_syntax(scanner->tree, scanner->file, open->line,
                             "the list of \"%s\" is never closed (write } at its end)",
                             option->name);
}

/* Complains of an option without a value, and skips what stands in place of one. */
static void scan_nothing(struct scanner *scanner, const struct conf_statement *option)
{
    conf_complain(scanner->tree, scanner->file, option->line, "\"%s\" has no value (write %s = …)",
                  option->name, option->name);
    while (scanner->next->line == option->line && scanner->next->kind != CONF_END &&
           scanner->next->kind != CONF_OPEN && scanner->next->kind != CONF_CLOSE &&
           !is_name(scanner->next))
        take(scanner);
}

/* What follows the name of an option; with or without its '='. */
static void scan_option(struct scanner *scanner, struct conf_statement *option)
{
    const struct conf_token *sign = scanner->next;

    if (sign->kind == CONF_APPEND)
        conf_complain(scanner->tree, scanner->file, sign->line,
                      "\"+=\" can't be used (write %s = and the whole list)", option->name);
    if (sign->kind == CONF_APPEND || sign->kind == CONF_EQUALS)
        take(scanner);
    else
        conf_complain(scanner->tree, scanner->file, option->line,
                      "missing \"=\" after \"%s\" (write %s = %.*s)", option->name, option->name,
                      sign->kind == CONF_OPEN ? (int)sizeof "{ … }" - 1
                                              : (int)(sign->end - sign->start),
                      sign->kind == CONF_OPEN ? "{ … }" : scanner->file->bytes + sign->start);
    if (scanner->next->kind == CONF_OPEN)
        scan_list(scanner, option);
    else if (is_word(scanner->next) && !begins_statement(scanner->next))
        take_value(scanner, option);
    else
        scan_nothing(scanner, option);
}

static void scan_section(struct scanner *scanner, struct conf_statement *section)
{
    section->is_section = true;
    if (is_word(scanner->next)) {
        section->title = TAKE(scanner->next->text);
        take(scanner);
    }
    section->end = take(scanner)->end;
    scan_statements(scanner, section);
}

/* `name { "a", "b" }` and `name { "a" }` are lists whose '=' was forgotten. */
static bool is_list_ahead(const struct conf_token *open)
{
    return open[0].kind == CONF_OPEN && is_word(&open[1]) &&
           (open[2].kind == CONF_COMMA || open[2].kind == CONF_CLOSE);
}

/* `title {`, and not the next line's `section {` behind an option without a value. */
static bool is_title_ahead(const struct conf_statement *section, const struct conf_token *token)
{
    return is_word(token) && token[1].kind == CONF_OPEN &&
           (token->kind == CONF_QUOTED || token->line == section->line);
}

static void scan_statement(struct scanner *scanner, struct conf_statement *section)
{
    struct conf_token *name = take(scanner);
    const struct conf_token *next = scanner->next;
    size_t complaints = scanner->tree->complaint_count;
    struct conf_statement child = {
        .file = scanner->file, .line = name->line, .start = name->start, .end = name->end};

    child.name = TAKE(name->text);
    if (next->kind == CONF_EQUALS || next->kind == CONF_APPEND || is_list_ahead(next))
        scan_option(scanner, &child);
    else if (next->kind == CONF_OPEN || is_title_ahead(&child, next))
        scan_section(scanner, &child);
    else if (is_word(next) && !begins_statement(next) && next[1].kind != CONF_LEFT)
        scan_option(scanner, &child);
    else
        scan_nothing(scanner, &child);
    child.is_broken = !child.is_section && scanner->tree->complaint_count > complaints;
    add_child(scanner, section, &child);
}

/* ---- Includes ------------------------------------------------------------------------------ */

/* The pattern in the folder of the file that includes it; glob() must not take the folder's own
 * name for a pattern. */
static void add_pattern(struct text *pattern, const char *from, const char *name, bool is_glob)
{
    const char *slash = strrchr(from, '/');

    if (name[0] != '/' && slash != NULL) {
        for (const char *c = from; c <= slash; c++) {
            if (is_glob && strchr("*?[]\\", *c) != NULL)
                text_add_char(pattern, '\\');
            text_add_char(pattern, *c);
        }
    }
    text_add_string(pattern, name);
}

static void include_all(struct scanner *scanner, const char *pattern, int line)
{
    glob_t found;
    int result = glob(pattern, 0, NULL, &found);

    if (result == GLOB_NOSPACE)
        scanner->tree->failed = true;
    if (result != 0)
        return; /* no file matches */
    for (size_t i = 0; i < found.gl_pathc; i++)
        scan_file(scanner->tree, found.gl_pathv[i], scanner->chain, scanner->file, line);
    globfree(&found);
}

static void include(struct scanner *scanner, const char *name, int line)
{
    SCOPED(text_free) struct text path = {0};
    bool is_glob = strpbrk(name, "*?[") != NULL;

    add_pattern(&path, scanner->file->path, name, is_glob);
    (void)text_end(&path);
    if (path.failed)
        scanner->tree->failed = true;
    else if (is_glob)
        include_all(scanner, path.at, line);
    else
        scan_file(scanner->tree, path.at, scanner->chain, scanner->file, line);
}

/* name(…), of which there is include("FILE") only. */
static void scan_function(struct scanner *scanner)
{
    const struct conf_token *name = take(scanner);
    const struct conf_token *argument = scanner->next + 1;

    if (strcmp(name->text, "include") != 0)
        conf_complain_syntax(scanner->tree, scanner->file, name->line,
                             "unknown function \"%s\" (there is include(\"FILE\") only)",
                             name->text);
    else if (scanner->next->kind != CONF_LEFT || !is_word(argument) ||
             argument[1].kind != CONF_RIGHT || argument->text[0] == '\0')
        conf_complain_syntax(scanner->tree, scanner->file, name->line,
                             "include wants one file or glob (write include(\"conf.d/*.conf\"))");
    else
        include(scanner, argument->text, name->line);
    if (scanner->next->kind == CONF_LEFT)
        skip_pair(scanner);
    else if (is_word(scanner->next))
        take(scanner);
}

/* ---- Files --------------------------------------------------------------------------------- */

/* Whether include("…") or another function comes next; the parenthesis may be forgotten. */
static bool is_function_ahead(const struct conf_token *name)
{
    return name[1].kind == CONF_LEFT || (strcmp(name->text, "include") == 0 &&
                                         name[1].kind == CONF_QUOTED && name[2].kind != CONF_OPEN);
}

/* Whether what comes next can't be within a section. Sections don't nest in the files that we know,
 * so a brace is missing above, and what follows is read as if it were there. */
static bool is_outside_ahead(const struct conf_token *name)
{
    return is_name(name) &&
           (is_function_ahead(name) || (name[1].kind == CONF_OPEN && !is_list_ahead(&name[1])) ||
            (is_word(&name[1]) && name[2].kind == CONF_OPEN &&
             (name[1].kind == CONF_QUOTED || name[1].line == name->line)));
}

static void skip_unexpected(struct scanner *scanner)
{
    complain_unexpected(scanner, scanner->next, "the name of an option or section is wanted here");
    if (scanner->next->kind == CONF_OPEN)
        skip_pair(scanner);
    else
        take(scanner);
}

/* What is in a section, and the brace that closes it. */
static void scan_statements(struct scanner *scanner, struct conf_statement *section)
{
    while (scanner->next->kind != CONF_END && !scanner->tree->failed) {
        if (scanner->next->kind == CONF_CLOSE) {
            section->end = take(scanner)->end;
            return;
        }
        if (is_outside_ahead(scanner->next)) {
            conf_complain(scanner->tree, scanner->file, section->line,
                          "the section \"%s\" that begins here is never closed (write } before "
                          "line %d)",
                          section->name, scanner->next->line);
            return;
        }
        if (is_name(scanner->next))
            scan_statement(scanner, section);
        else
            skip_unexpected(scanner);
    }
    conf_complain(scanner->tree, scanner->file, section->line,
                  "the section \"%s\" that begins here is never closed (write } at its end)",
                  section->name);
}

/* All of a file. */
static void scan_outside(struct scanner *scanner)
{
    while (scanner->next->kind != CONF_END && !scanner->tree->failed) {
        if (scanner->next->kind == CONF_CLOSE)
            complain_unexpected(scanner, take(scanner), "no section is open here: remove it");
        else if (!is_name(scanner->next))
            skip_unexpected(scanner);
        else if (is_function_ahead(scanner->next))
            scan_function(scanner);
        else
            scan_statement(scanner, &scanner->tree->root);
    }
}

static struct conf_file *add_file(struct conf_tree *tree, const char *path)
{
    struct conf_file **grown =
        reallocarray(tree->files, tree->file_count + 1, sizeof(struct conf_file *));
    struct conf_file *file = calloc(1, sizeof *file);

    if (grown != NULL)
        tree->files = grown;
    if (grown == NULL || file == NULL || (file->path = strdup(path)) == NULL) {
        free(file);
        tree->failed = true;
        return NULL;
    }
    file->order = tree->file_count;
    tree->files[tree->file_count++] = file;
    if (tree->root.file == NULL)
        tree->root.file = file;
    return file;
}

static void scan_text(struct conf_tree *tree, struct conf_file *file, struct text *bytes,
                      const struct chain *chain)
{
    SCOPED(conf_tokens_free) struct conf_tokens tokens = {0};
    struct scanner scanner = {.tree = tree, .file = file, .chain = chain};

    (void)text_end(bytes);
    if (bytes->failed) {
        tree->failed = true;
        return;
    }
    file->length = bytes->length;
    file->bytes = TAKE(bytes->at);
    if (!conf_lex(tree, file, &tokens)) {
        tree->failed = true;
        return;
    }
    scanner.next = tokens.at;
    scan_outside(&scanner);
}

/* Reads all there is. On false errno says why not. */
static bool read_all(int fd, struct text *bytes)
{
    while (bytes->length <= LARGEST_FILE && text_reserve(bytes, 64 << 10)) {
        ssize_t got = read(fd, bytes->at + bytes->length, 64 << 10);

        if (got == 0)
            return true;
        if (got < 0 && errno != EINTR)
            return false;
        if (got > 0)
            bytes->length += (size_t)got;
    }
    errno = bytes->failed ? ENOMEM : EFBIG;
    return false;
}

static bool is_in_chain(const struct chain *chain, const struct stat *status)
{
    for (; chain != NULL; chain = chain->up) {
        if (chain->device == status->st_dev && chain->inode == status->st_ino)
            return true;
    }
    return false;
}

/* Opening a named pipe would hold us up until somebody writes to it. */
static bool is_named_pipe(const char *path)
{
    struct stat status;

    return lstat(path, &status) == 0 && S_ISFIFO(status.st_mode);
}

/* Reads the file `from` line `line` of another, or, if that is NULL, as the main one. */
static void scan_file(struct conf_tree *tree, const char *path, const struct chain *up,
                      const struct conf_file *from, int line)
{
    bool is_pipe = is_named_pipe(path);
    SCOPED(close_at) int fd = is_pipe ? -1 : open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    SCOPED(text_free) struct text bytes = {0};
    struct chain chain = {.up = up, .depth = up != NULL ? up->depth + 1 : 0};
    struct stat status;
    struct conf_file *file = NULL;

    if (from == NULL && (from = file = add_file(tree, path)) == NULL)
        return;
    if (is_pipe) {
        conf_complain(tree, from, line, "\"%s\" is a named pipe (write a file)", path);
    } else if (fd < 0 || fstat(fd, &status) != 0) {
        conf_complain(tree, from, line, "cannot open \"%s\": %s (is its name right?)", path,
                      strerror(errno));
    } else if (is_in_chain(up, &status)) {
        conf_complain(tree, from, line, "\"%s\" includes itself (remove this include)", path);
    } else if (chain.depth > DEEPEST_INCLUDE || tree->file_count == MOST_FILES) {
        conf_complain(tree, from, line, "too many includes (at most %d deep, and %d files)",
                      (int)DEEPEST_INCLUDE, (int)MOST_FILES);
    } else if (!read_all(fd, &bytes)) {
        conf_complain(tree, from, line, "cannot read \"%s\": %s", path, strerror(errno));
    } else if (file != NULL || (file = add_file(tree, path)) != NULL) {
        chain.device = status.st_dev;
        chain.inode = status.st_ino;
        scan_text(tree, file, &bytes, &chain);
    }
}

void conf_scan(const char *path, struct conf_tree *tree)
{
    *tree = (struct conf_tree){.root = {.line = 1, .is_section = true}};
    scan_file(tree, path, NULL, NULL, 1);
}

void conf_scan_bytes(const char *path, const char *bytes, size_t length, struct conf_tree *tree)
{
    SCOPED(text_free) struct text copy = {0};
    struct conf_file *file;

    *tree = (struct conf_tree){.root = {.line = 1, .is_section = true}};
    text_add(&copy, bytes, length);
    if ((file = add_file(tree, path)) != NULL)
        scan_text(tree, file, &copy, NULL);
}

void conf_tree_free(struct conf_tree *tree)
{
    statement_free(&tree->root);
    for (size_t i = 0; i < tree->file_count; i++) {
        free(tree->files[i]->path);
        free(tree->files[i]->bytes);
        free(tree->files[i]);
    }
    for (size_t i = 0; i < tree->complaint_count; i++)
        free(tree->complaints[i].text);
    free(tree->files);
    free(tree->complaints);
    *tree = (struct conf_tree){0};
}

const struct conf_statement *conf_find(const struct conf_statement *section, const char *name)
{
    for (size_t i = 0; section != NULL && i < section->child_count; i++) {
        if (strcmp(section->children[i].name, name) == 0)
            return &section->children[i];
    }
    return NULL;
}

void conf_place(const struct conf_statement *statement, const struct conf_file *from,
                char place[256])
{
    if (statement->file == from)
        (void)snprintf(place, 256, "line %d", statement->line);
    else
        (void)snprintf(place, 256, "%s:%d", statement->file->path, statement->line);
}
