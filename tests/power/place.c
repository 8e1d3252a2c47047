/* SPDX-License-Identifier: Apache-2.0 */
#include "place.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static char folder[PATH_MAX];

bool place_set_folder(const char *path)
{
    return realpath(path, folder) != NULL;
}

const char *place_folder(void)
{
    return folder;
}

bool place_is_below(int descriptor, const char *below)
{
    size_t most = strlen(below);
    char link[64];
    char path[PATH_MAX];
    ssize_t length;

    snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
    length = readlink(link, path, sizeof path - 1);
    if (most == 0 || length < (ssize_t)most)
        return false;
    path[length] = '\0';
    return memcmp(path, below, most) == 0 && (path[most] == '/' || path[most] == '\0');
}

/* Splits "a/b/" into "a" and "b"; false for what has no name of its own (".", "..", "/"). */
static bool split(const char *path, char parent[PATH_MAX], char name[256])
{
    size_t end = strlen(path);
    size_t start;

    while (end > 0 && path[end - 1] == '/')
        end--;
    for (start = end; start > 0 && path[start - 1] != '/'; start--)
        ;
    if (end == start || end - start >= 256 || start >= PATH_MAX - 1)
        return false;
    memcpy(name, path + start, end - start);
    name[end - start] = '\0';
    memcpy(parent, path, start);
    strcpy(parent + start, start == 0 ? "." : "");
    return strcmp(name, ".") != 0 && strcmp(name, "..") != 0;
}

/* Opens the folder that holds the path's name, if it lies below. */
static int open_parent(int at, const char *path, const char *below, char name[256])
{
    char parent[PATH_MAX];
    int descriptor;

    if (path == NULL || !split(path, parent, name))
        return -1;
    descriptor = (int)syscall(SYS_openat, at, parent, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (descriptor >= 0 && !place_is_below(descriptor, below)) {
        syscall(SYS_close, descriptor);
        return -1;
    }
    return descriptor;
}

bool place_path_is_below(int at, const char *path, const char *below)
{
    char name[256];
    int parent = open_parent(at, path, below, name);

    if (parent >= 0)
        syscall(SYS_close, parent);
    return parent >= 0;
}

bool place_find(int at, const char *path, struct place *place)
{
    struct stat status;

    place->parent = open_parent(at, path, folder, place->name);
    if (place->parent < 0)
        return false;
    if (fstat(place->parent, &status) != 0) {
        place_close(place);
        return false;
    }
    place->folder = status.st_ino;
    return true;
}

void place_close(struct place *place)
{
    if (place->parent >= 0)
        syscall(SYS_close, place->parent);
    place->parent = -1;
}

uint64_t place_file(const struct place *place)
{
    struct stat status;

    if (fstatat(place->parent, place->name, &status, AT_SYMLINK_NOFOLLOW) != 0)
        return 0;
    return status.st_ino;
}

bool place_of(int descriptor, uint64_t *file)
{
    struct stat status;

    if (descriptor < 0 || fstat(descriptor, &status) != 0 ||
        (!S_ISREG(status.st_mode) && !S_ISDIR(status.st_mode)) ||
        !place_is_below(descriptor, folder))
        return false;
    *file = status.st_ino;
    return true;
}
