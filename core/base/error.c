/* SPDX-License-Identifier: Apache-2.0 */
#include "base/error.h"

bool rasad_fail_at(struct rasad_error *error, const char *format, ...)
{
    char what[sizeof error->text];
    va_list arguments;
    size_t length;

    if (error == NULL)
        return false;
    memcpy(what, error->text, sizeof what);
    va_start(arguments, format);
    (void)vsnprintf(error->text, sizeof error->text, format, arguments);
    va_end(arguments);
    length = strlen(error->text);
    (void)snprintf(error->text + length, sizeof error->text - length, ": %s", what);
    return false;
}

bool rasad_fail_memory(struct rasad_error *error)
{
    return rasad_fail(error, "out of memory");
}
