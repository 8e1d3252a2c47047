/* SPDX-License-Identifier: Apache-2.0 */
#include "state_folder.h"

#include <inttypes.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/crc32c.h"
#include "base/text.h"

/* So many bytes of a name make a file's name; a longer one ends with its checksum. */
#define MOST_NAME_BYTES 200

/* The name as a file's: only what a path takes for its own is written otherwise. */
static void add_name(struct text *path, const char *name)
{
    size_t start = path->length;

    for (const char *c = name; *c != '\0'; c++) {
        if (*c == '/' || *c == '%' || (*c == '.' && c == name))
            text_printf(path, "%%%02X", (unsigned char)*c);
        else
            text_add_char(path, *c);
    }
    if (path->length - start > MOST_NAME_BYTES && !path->failed) {
        path->length = start + MOST_NAME_BYTES;
        text_printf(path, "-%08" PRIx32, crc32c(0, name, strlen(name)));
    }
}

static const char *home(void)
{
    const char *path = getenv("HOME");
    const struct passwd *user;

    if (path != NULL && path[0] == '/')
        return path;
    user = getpwuid(getuid());
    return user != NULL && user->pw_dir[0] == '/' ? user->pw_dir : NULL;
}

static bool finish(struct text *text, char path[PATH_MAX], struct rasad_error *error)
{
    bool fine = !text->failed && text->length < PATH_MAX;

    if (fine)
        (void)snprintf(path, PATH_MAX, "%s", text_end(text));
    text_free(text);
    return fine || rasad_fail(error, "the spool's folder has too long a path");
}

bool state_folder(const char *name, char path[PATH_MAX], struct rasad_error *error)
{
    const char *given = getenv("STATE_DIRECTORY"), *xdg = getenv("XDG_STATE_HOME"), *own = home();
    struct text text = {0};

    if (given != NULL && given[0] == '/') {
        text_add(&text, given, strcspn(given, ":"));
        return finish(&text, path, error);
    }
    if (xdg != NULL && xdg[0] == '/') /* what is relative is to be ignored, as its standard says */
        text_add_string(&text, xdg);
    else if (own != NULL)
        text_printf(&text, "%s/.local/state", own);
    else
        return rasad_fail(error, "no folder for the spool: neither STATE_DIRECTORY nor HOME is set "
                                 "(write spool = \"FOLDER\" into the conf)");
    text_add_string(&text, "/rasad-agent/");
    add_name(&text, name);
    return finish(&text, path, error);
}
