/* SPDX-License-Identifier: Apache-2.0 */
#include "base/conf_lex.h"

#include <stdlib.h>
#include <string.h>

#include "base/scoped.h"
#include "base/utf8.h"

/* What ends a word that stands without quotes. */
#define WORD_ENDS " #\"'\t\n\r={}()+,*"

struct lexer {
    struct conf_tree *tree;
    struct conf_file *file;
    struct conf_tokens *tokens;
    size_t at;
    int line;
};

static bool looking_at(const struct lexer *lexer, const char *string)
{
    return strncmp(lexer->file->bytes + lexer->at, string, strlen(string)) == 0;
}

/* Adds a token that goes from `start` to where the lexer is; takes the text. */
static bool add_token(struct lexer *lexer, enum conf_kind kind, size_t start, int line, char *text)
{
    struct conf_tokens *tokens = lexer->tokens;

    if ((tokens->count & (tokens->count + 1)) == 0) { /* 0, 1, 3, 7, …: full, so double it */
        struct conf_token *grown = reallocarray(tokens->at, 2 * (tokens->count + 1), sizeof *grown);

        if (grown == NULL) {
            free(text);
            return false;
        }
        tokens->at = grown;
    }
    tokens->at[tokens->count++] = (struct conf_token){
        .kind = kind, .line = line, .text = text, .start = start, .end = lexer->at};
    return true;
}

/* A word, which is what `decoded` holds. */
static bool add_word(struct lexer *lexer, enum conf_kind kind, size_t start, int line,
                     struct text *decoded)
{
    const char *bytes = text_end(decoded);
    char *text;

    if (decoded->failed)
        return false;
    if (memchr(bytes, '\0', decoded->length) != NULL)
        conf_complain_syntax(lexer->tree, lexer->file, line,
                             "a text can't hold a NUL (leave out the \\0)");
    else if (!utf8_valid(bytes, decoded->length))
        conf_complain_syntax(lexer->tree, lexer->file, line,
                             "this text is not UTF-8 (write it in UTF-8)");
    text = strdup(bytes);
    return text != NULL && add_token(lexer, kind, start, line, text);
}

/* Blanks out bytes of a comment, but for line feeds. */
static void blank(struct lexer *lexer, size_t end)
{
    for (; lexer->at < end; lexer->at++) {
        if (lexer->file->bytes[lexer->at] == '\n')
            lexer->line++;
        else
            lexer->file->bytes[lexer->at] = ' ';
    }
}

static void skip_comment(struct lexer *lexer)
{
    const char *bytes = lexer->file->bytes;
    const char *end;

    if (looking_at(lexer, "/*")) {
        end = strstr(bytes + lexer->at + 2, "*/");
        if (end == NULL)
            conf_complain_syntax(lexer->tree, lexer->file, lexer->line,
                                 "the comment that begins here is never closed (write */ at its "
                                 "end)");
        blank(lexer, end == NULL ? lexer->file->length : (size_t)(end - bytes) + 2);
        return;
    }
    end = strchr(bytes + lexer->at, '\n');
    blank(lexer, end == NULL ? lexer->file->length : (size_t)(end - bytes));
}

/* ${NAME} or ${NAME:-default}, if that is what stands here. */
static bool take_variable(struct lexer *lexer, struct text *decoded)
{
    const char *start = lexer->file->bytes + lexer->at;
    size_t length = strcspn(start, "}\n");
    SCOPED(free_at) char *name = NULL;
    const char *value;
    char *preset;

    if (strncmp(start, "${", 2) != 0 || start[length] != '}')
        return false;
    lexer->at += length + 1;
    if ((name = strndup(start + 2, length - 2)) == NULL) {
        decoded->failed = true;
        return true;
    }
    preset = strchr(name, ':');
    if (preset != NULL && preset[1] == '-')
        *preset = '\0';
    else
        preset = NULL;
    value = getenv(name);
    if (value == NULL)
        value = preset != NULL ? preset + 2 : "";
    text_add_string(decoded, value);
    return true;
}

static void take_octal(struct lexer *lexer, struct text *decoded)
{
    const char *digits = lexer->file->bytes + lexer->at;
    size_t length = strspn(digits, "0123456789");
    unsigned value = 0;

    for (size_t i = 0; i < length && i < 4; i++)
        value = value * 8 + (unsigned)(digits[i] - '0');
    if (length > 3 || strspn(digits, "01234567") < length || value > 0xff)
        conf_complain_syntax(lexer->tree, lexer->file, lexer->line,
                             "\"\\%.*s\" is no character (write \\\\ for a backslash)",
                             length < 20 ? (int)length : 20, digits);
    text_add_char(decoded, (char)value);
    lexer->at += length;
}

static void take_hexadecimal(struct lexer *lexer, struct text *decoded)
{
    const char *digits = lexer->file->bytes + lexer->at;
    char copy[3] = {0};
    size_t length = strspn(digits, "0123456789abcdefABCDEF");

    if (length == 0) {
        text_add_char(decoded, 'x'); /* as any other letter that needs no backslash */
        return;
    }
    memcpy(copy, digits, length < 2 ? length : 2);
    text_add_char(decoded, (char)strtol(copy, NULL, 16));
    lexer->at += strlen(copy);
}

/* What follows a backslash in double quotes. */
static void take_escape(struct lexer *lexer, struct text *decoded)
{
    static const char letters[] = "nrbfaetv", meanings[] = "\n\r\b\f\a\033\t\v";
    char c = lexer->file->bytes[lexer->at];
    const char *letter = c != '\0' ? strchr(letters, c) : NULL;

    if (c >= '0' && c <= '9') {
        take_octal(lexer, decoded);
        return;
    }
    lexer->at++;
    if (c == '\n')
        lexer->line++; /* the text goes on in the next line */
    else if (c == 'x')
        take_hexadecimal(lexer, decoded);
    else
        text_add_char(decoded, letter != NULL ? meanings[letter - letters] : c);
}

/* What follows a backslash in single quotes. */
static void take_single_escape(struct lexer *lexer, struct text *decoded)
{
    char c = lexer->file->bytes[lexer->at++];

    if (c == '\n') {
        lexer->line++;
        return;
    }
    if (c != '\\' && c != '\'')
        text_add_char(decoded, '\\');
    text_add_char(decoded, c);
}

/* A quote without its partner: its text goes up to what can't be meant to be in it, so that the
 * rest of the line is still understood. */
static void close_quote(struct lexer *lexer, size_t start, int line, struct text *decoded)
{
    const char *text = lexer->file->bytes + start + 1;
    size_t length = strcspn(text, "},\n");

    conf_complain_syntax(lexer->tree, lexer->file, line,
                         "the text that begins here has no closing quote (write %c at its end, or "
                         "\\n for a line break)",
                         lexer->file->bytes[start]);
    while (length > 0 && strchr(" \t\r", text[length - 1]) != NULL)
        length--;
    lexer->at = start + 1 + length;
    lexer->line = line;
    text_clear(decoded);
    text_add(decoded, text, length);
}

static bool take_quoted(struct lexer *lexer)
{
    SCOPED(text_free) struct text decoded = {0};
    const char *bytes = lexer->file->bytes;
    size_t start = lexer->at++;
    int line = lexer->line;
    char quote = bytes[start];

    while (bytes[lexer->at] != quote) {
        char c = bytes[lexer->at];

        if (c == '\0' || c == '\n' || (c == '\\' && bytes[lexer->at + 1] == '\0')) {
            close_quote(lexer, start, line, &decoded);
            return add_word(lexer, CONF_QUOTED, start, line, &decoded);
        }
        if (quote == '"' && c == '$' && take_variable(lexer, &decoded))
            continue;
        lexer->at++;
        if (c != '\\')
            text_add_char(&decoded, c);
        else if (quote == '"')
            take_escape(lexer, &decoded);
        else
            take_single_escape(lexer, &decoded);
    }
    lexer->at++;
    return add_word(lexer, CONF_QUOTED, start, line, &decoded);
}

static bool take_word(struct lexer *lexer)
{
    SCOPED(text_free) struct text decoded = {0};
    size_t start = lexer->at;
    size_t length = strcspn(lexer->file->bytes + start, WORD_ENDS);

    if (take_variable(lexer, &decoded))
        return add_word(lexer, CONF_QUOTED, start, lexer->line, &decoded);
    if (length == 0) {
        conf_complain_syntax(lexer->tree, lexer->file, lexer->line,
                             "unexpected \"%c\" (put a text that holds it in quotes)",
                             lexer->file->bytes[start]);
        lexer->at++;
        return true;
    }
    text_add(&decoded, lexer->file->bytes + start, length);
    lexer->at += length;
    return add_word(lexer, CONF_WORD, start, lexer->line, &decoded);
}

static bool take_token(struct lexer *lexer)
{
    static const struct {
        const char *text;
        enum conf_kind kind;
    } signs[] = {{"{", CONF_OPEN},   {"}", CONF_CLOSE}, {"(", CONF_LEFT},   {")", CONF_RIGHT},
                 {"=", CONF_EQUALS}, {",", CONF_COMMA}, {"+=", CONF_APPEND}};
    size_t start = lexer->at;

    for (size_t i = 0; i < sizeof signs / sizeof *signs; i++) {
        if (!looking_at(lexer, signs[i].text))
            continue;
        lexer->at += strlen(signs[i].text);
        return add_token(lexer, signs[i].kind, start, lexer->line, NULL);
    }
    if (looking_at(lexer, "\"") || looking_at(lexer, "'"))
        return take_quoted(lexer);
    return take_word(lexer);
}

/* A NUL would end the file for libconfuse. */
static void blank_nuls(struct lexer *lexer)
{
    int line = 1;

    for (size_t i = 0; i < lexer->file->length; i++) {
        line += lexer->file->bytes[i] == '\n';
        if (lexer->file->bytes[i] != '\0')
            continue;
        conf_complain_syntax(lexer->tree, lexer->file, line,
                             "a NUL byte (is this a text file? remove the byte)");
        lexer->file->bytes[i] = ' ';
    }
}

bool conf_lex(struct conf_tree *tree, struct conf_file *file, struct conf_tokens *tokens)
{
    struct lexer lexer = {.tree = tree, .file = file, .tokens = tokens, .line = 1};

    blank_nuls(&lexer);
    if (looking_at(&lexer, "\xef\xbb\xbf")) /* a byte order mark, as some editors write it */
        blank(&lexer, 3);
    while (lexer.at < file->length) {
        if (looking_at(&lexer, "#") || looking_at(&lexer, "//") || looking_at(&lexer, "/*"))
            skip_comment(&lexer);
        else if (strchr(" \t\r\n", file->bytes[lexer.at]) != NULL)
            lexer.line += file->bytes[lexer.at++] == '\n';
        else if (!take_token(&lexer))
            return false;
    }
    return add_token(&lexer, CONF_END, lexer.at, lexer.line, NULL);
}

void conf_tokens_free(struct conf_tokens *tokens)
{
    for (size_t i = 0; i < tokens->count; i++)
        free(tokens->at[i].text);
    free(tokens->at);
    *tokens = (struct conf_tokens){0};
}
