/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * conf_show: the effective conf, itself a valid one, out of structs that conf_values.h filled.
 * Threads: none inside.
 */
#include <rasad/plugin.h>
#include <stddef.h>

#include "base/conf_scan.h"
#include "base/text.h"

/* Adds a line of conf for each row, such as `port = 5050 # rasad.conf:1`, with `indent` blanks in
 * front. A section of NULL: all are presets. */
void conf_show(const struct conf_statement *section, const struct rasad_option *options,
               size_t count, const void *filled, int indent, struct text *out);

/* Adds the text in double quotes so that libconfuse reads it back. */
void conf_show_text(const char *text, struct text *out);
