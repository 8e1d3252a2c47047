/* SPDX-License-Identifier: Apache-2.0 */
#include "exporter/filter.h"

#include <string.h>

static bool is_among(const struct filter *filter, const char *name, const char *const *suffixes,
                     size_t count)
{
    size_t length = strlen(name);

    for (size_t i = 0; i < filter->count; i++) {
        if (strncmp(filter->names[i], name, length) != 0)
            continue;
        for (size_t k = 0; k < count; k++) {
            if (strcmp(filter->names[i] + length, suffixes[k]) == 0)
                return true;
        }
    }
    return filter->count == 0;
}

bool filter_wants(const struct filter *filter, const char *name)
{
    static const char *const suffixes[] = {"", "_total", "_bucket", "_sum", "_count"};

    return is_among(filter, name, suffixes, sizeof suffixes / sizeof *suffixes);
}

bool filter_wants_created(const struct filter *filter, const char *name)
{
    static const char *const suffixes[] = {"_created"};

    return is_among(filter, name, suffixes, sizeof suffixes / sizeof *suffixes);
}
