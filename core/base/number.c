/* SPDX-License-Identifier: Apache-2.0 */
#include "base/number.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static size_t skip_digits(const char *text, size_t i, size_t length)
{
    while (i < length && text[i] >= '0' && text[i] <= '9')
        i++;
    return i;
}

bool number_is_json(const char *text, size_t length)
{
    size_t i = length > 0 && text[0] == '-' ? 1 : 0;
    size_t start = i;

    i = skip_digits(text, i, length);
    if (i == start || (text[start] == '0' && i > start + 1))
        return false;
    if (i < length && text[i] == '.') {
        start = ++i;
        i = skip_digits(text, i, length);
        if (i == start)
            return false;
    }
    if (i < length && (text[i] == 'e' || text[i] == 'E')) {
        i++;
        if (i < length && (text[i] == '+' || text[i] == '-'))
            i++;
        start = i;
        i = skip_digits(text, i, length);
        if (i == start)
            return false;
    }
    return i == length;
}

bool number_parse(const char *text, size_t length, double *number)
{
    char copy[128];
    char *heap = NULL;
    char *digits = copy;
    double value;

    if (!number_is_json(text, length))
        return false;
    /* strtod() wants a NUL; a number longer than the buffer is rare, legal, and goes by the heap.
     */
    if (length >= sizeof copy && (digits = heap = malloc(length + 1)) == NULL)
        return false;
    memcpy(digits, text, length);
    digits[length] = '\0';
    value = strtod(digits, NULL);
    free(heap);
    if (!isfinite(value))
        return false;
    *number = value;
    return true;
}

/* Go's exponent has at least two digits and a sign, as C's does; C's %g drops to it at 1e+15. */
size_t number_format(double number, char text[NUMBER_LENGTH])
{
    int length = 0;

    if (isnan(number))
        return (size_t)snprintf(text, NUMBER_LENGTH, "NaN");
    if (isinf(number))
        return (size_t)snprintf(text, NUMBER_LENGTH, number > 0 ? "+Inf" : "-Inf");
    if (fabs(number) < 9007199254740992.0 && number == trunc(number))
        return (size_t)snprintf(text, NUMBER_LENGTH, "%.0f", number);
    for (int digits = 15; digits <= 17; digits++) {
        length = snprintf(text, NUMBER_LENGTH, "%.*g", digits, number);
        if (strtod(text, NULL) == number)
            break;
    }
    return (size_t)length;
}

bool duration_parse(const char *text, int64_t *duration_ns)
{
    static const struct {
        const char *unit;
        double ns;
    } units[] = {{"ms", 1e6}, {"s", 1e9}, {"m", 60e9}, {"h", 3600e9}, {"d", 86400e9}};
    size_t digits = strspn(text, "0123456789.");
    double amount;

    if (!number_parse(text, digits, &amount))
        return false;
    for (size_t i = 0; i < sizeof units / sizeof *units; i++) {
        if (strcmp(text + digits, units[i].unit) != 0)
            continue;
        if (amount * units[i].ns >= 9.2e18)
            return false;
        *duration_ns = (int64_t)llround(amount * units[i].ns);
        return true;
    }
    return false;
}

bool size_parse(const char *text, uint64_t *bytes)
{
    static const struct {
        const char *unit;
        unsigned shift;
    } units[] = {{"", 0}, {"KiB", 10}, {"MiB", 20}, {"GiB", 30}};
    size_t digits = strspn(text, "0123456789");
    uint64_t amount;

    if (digits == 0 || digits > 18)
        return false;
    amount = strtoull(text, NULL, 10);
    for (size_t i = 0; i < sizeof units / sizeof *units; i++) {
        if (strcmp(text + digits, units[i].unit) != 0)
            continue;
        *bytes = amount << units[i].shift;
        return amount <= (uint64_t)INT64_MAX >> units[i].shift;
    }
    return false;
}
