/* SPDX-License-Identifier: Apache-2.0 */
#include "base/install.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

bool install_path(const char *relative, char path[PATH_MAX], struct rasad_error *error)
{
    ssize_t length = readlink("/proc/self/exe", path, PATH_MAX - 1);
    char *slash;

    if (length < 0)
        return rasad_fail(error, "cannot find our own program: %s (is /proc mounted?)",
                          strerror(errno));
    path[length] = '\0';
    for (int up = 0; up < 2; up++) { /* off with the program's name and its folder */
        slash = strrchr(path, '/');
        if (slash != NULL)
            *slash = '\0';
    }
    length = (ssize_t)strlen(path);
    if (snprintf(path + length, PATH_MAX - (size_t)length, "/%s", relative) >=
        PATH_MAX - (int)length)
        return rasad_fail(error, "the path of %s is too long", relative);
    return true;
}

void install_conf_path(const char *name, char path[PATH_MAX])
{
    char relative[128];
    struct rasad_error ignored;

    (void)snprintf(relative, sizeof relative, "etc/rasad/%s", name);
    if (install_path(relative, path, &ignored) && strncmp(path, "/usr/etc/", 9) != 0 &&
        access(path, F_OK) == 0)
        return;
    (void)snprintf(path, PATH_MAX, "/etc/rasad/%s", name);
}
