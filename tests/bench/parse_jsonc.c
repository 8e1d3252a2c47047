/* SPDX-License-Identifier: Apache-2.0 */
/*
 * parse_jsonc: has json-c parse each line, strictly, and throws the result away. What it takes
 * beyond count_lines is the price of json-c; what rasadd takes beyond it is the price of rasadd.
 */
#include <json-c/json.h>
#include <stdio.h>
#include <stdlib.h>

#include "lines.h"

static void *begin(void)
{
    struct json_tokener *tokener = json_tokener_new();

    if (tokener == NULL)
        return perror("json_tokener_new"), exit(1), NULL;
    json_tokener_set_flags(tokener, JSON_TOKENER_STRICT);
    return tokener;
}

static void parse(void *context, const char *line, size_t size)
{
    struct json_tokener *tokener = context;
    json_object *object;

    json_tokener_reset(tokener);
    object = json_tokener_parse_ex(tokener, line, (int)size);
    if (json_tokener_get_error(tokener) != json_tokener_success)
        (void)fprintf(stderr, "not JSON: %.*s\n", (int)size, line);
    (void)json_object_put(object);
}

static void end(void *context)
{
    json_tokener_free(context);
}

int main(void)
{
    return lines_serve(&(struct lines_handler){.begin = begin, .line = parse, .end = end});
}
