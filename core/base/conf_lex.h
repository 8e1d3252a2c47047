/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * conf_lex: the words of a conf file, decoded as libconfuse's lexer does (src/lexer.l of 3.3), with
 * their places. Inside of conf_scan; nobody else needs it.
 * Threads: none inside. Memory: a text that is taken out of its token is the taker's.
 */
#include <stdbool.h>
#include <stddef.h>

#include "base/conf_scan.h"

enum conf_kind {
    CONF_WORD,   /* without quotes */
    CONF_QUOTED, /* in either kind of quotes, or ${A_VARIABLE} */
    CONF_EQUALS,
    CONF_APPEND, /* += */
    CONF_OPEN,   /* { */
    CONF_CLOSE,
    CONF_LEFT, /* ( */
    CONF_RIGHT,
    CONF_COMMA,
    CONF_END, /* of the file: always the last one */
};

struct conf_token {
    enum conf_kind kind;
    int line;
    char *text; /* of a word, decoded */
    size_t start;
    size_t end;
};

struct conf_tokens {
    struct conf_token *at;
    size_t count;
};

/* The tokens of a file; comments in its bytes become blanks. False: out of memory. */
bool conf_lex(struct conf_tree *tree, struct conf_file *file, struct conf_tokens *tokens);

/* Fits SCOPED. */
void conf_tokens_free(struct conf_tokens *tokens);

/* A complaint about the syntax: only the first one of a line is kept. */
__attribute__((format(printf, 4, 5))) void conf_complain_syntax(struct conf_tree *tree,
                                                                const struct conf_file *file,
                                                                int line, const char *format, ...);
