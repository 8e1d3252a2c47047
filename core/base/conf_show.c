/* SPDX-License-Identifier: Apache-2.0 */
#include "base/conf_show.h"

#include <ctype.h>
#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "base/conf_cell.h"
#include "base/number.h"

void conf_show_text(const char *text, struct text *out)
{
    text_add_char(out, '"');
    for (; *text != '\0'; text++) {
        if ((unsigned char)*text < 0x20 || *text == 0x7f) {
            text_printf(out, "\\x%02x", (unsigned char)*text);
            continue;
        }
        if (strchr("\"\\$", *text) != NULL) /* a dollar may begin a variable */
            text_add_char(out, '\\');
        text_add_char(out, *text);
    }
    text_add_char(out, '"');
}

/* Without the '+' of an exponent or an infinity, which libconfuse would take for a sign. */
static void show_number(double number, struct text *out)
{
    char text[NUMBER_LENGTH];

    (void)number_format(number, text);
    for (const char *c = text; *c != '\0'; c++) {
        if (*c != '+')
            text_add_char(out, (char)tolower((unsigned char)*c));
    }
}

static void show_duration(const struct rasad_option *row, int64_t duration_ns, struct text *out)
{
    static const struct {
        const char *name;
        int64_t ns;
    } units[] = {{"d", INT64_C(86400000000000)},
                 {"h", INT64_C(3600000000000)},
                 {"m", INT64_C(60000000000)},
                 {"s", INT64_C(1000000000)},
                 {"ms", INT64_C(1000000)}};

    if (duration_ns == 0) {
        text_add_string(out, conf_may_be_never(row) ? "\"never\"" : "\"0s\"");
        return;
    }
    for (size_t i = 0; i < sizeof units / sizeof *units; i++) {
        if (duration_ns % units[i].ns == 0) {
            text_printf(out, "\"%" PRId64 "%s\"", duration_ns / units[i].ns, units[i].name);
            return;
        }
    }
    text_printf(out, "\"%" PRId64 ".%06" PRId64 "ms\"", duration_ns / 1000000,
                duration_ns % 1000000);
}

static void show_numbers(const struct rasad_numbers *numbers, struct text *out)
{
    text_add_char(out, '{');
    for (uint64_t i = 0; i < numbers->count; i++) {
        text_add_string(out, i > 0 ? ", " : " ");
        show_number(numbers->at[i], out);
    }
    text_add_string(out, " }");
}

static void show_texts(const struct rasad_texts *texts, struct text *out)
{
    text_add_char(out, '{');
    for (uint64_t i = 0; i < texts->count; i++) {
        text_add_string(out, i > 0 ? ", " : " ");
        conf_show_text(texts->at[i], out);
    }
    text_add_string(out, " }");
}

static void show_value(const struct rasad_option *row, const void *member, struct text *out)
{
    switch (row->type) {
    case RASAD_OPTION_TYPE_NUMBER:
        show_number(*(const double *)member, out);
        break;
    case RASAD_OPTION_TYPE_INTEGER:
        text_printf(out, "%" PRId64, *(const int64_t *)member);
        break;
    case RASAD_OPTION_TYPE_BOOL:
        text_add_string(out, *(const bool *)member ? "true" : "false");
        break;
    case RASAD_OPTION_TYPE_TEXT:
        conf_show_text(*(const char *const *)member, out);
        break;
    case RASAD_OPTION_TYPE_DURATION:
        show_duration(row, *(const int64_t *)member, out);
        break;
    case RASAD_OPTION_TYPE_NUMBERS:
        show_numbers(member, out);
        break;
    default:
        show_texts(member, out);
        break;
    }
}

void conf_show(const struct conf_statement *section, const struct rasad_option *options,
               size_t count, const void *filled, int indent, struct text *out)
{
    for (size_t i = 0; i < count; i++) {
        const struct conf_statement *statement = conf_find(section, options[i].name);

        text_printf(out, "%*s%s = ", indent, "", options[i].name);
        show_value(&options[i], (const char *)filled + options[i].offset, out);
        if (statement != NULL)
            text_printf(out, " # %s:%d\n", statement->file->path, statement->line);
        else
            text_add_string(out, " # default\n");
    }
}
