/* SPDX-License-Identifier: Apache-2.0 */
/*
 * filesystem: size and free space of what is mounted from block devices, from /proc/self/mounts
 * (fstab(5)) and statvfs(3). Asking about a network file system whose server is gone never returns,
 * so only sources that begin with /dev/ are asked, and none through FUSE but block devices.
 */
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include "proc.h"

/* Undoes the file's escapes in place: \040 is a blank, \134 a backslash. */
static void unescape(char *text)
{
    char *to = text;

    for (const char *from = text; *from != '\0'; to++) {
        if (from[0] == '\\' && strspn(from + 1, "01234567") >= 3) {
            *to = (char)((from[1] - '0') << 6 | (from[2] - '0') << 3 | (from[3] - '0'));
            from += 4;
        } else {
            *to = *from++;
        }
    }
    *to = '\0';
}

/* Read-only images are always full, and say nothing. */
static bool is_wanted(const char *device, const char *type)
{
    return strncmp(device, "/dev/", 5) == 0 && strcmp(type, "squashfs") != 0 &&
           strcmp(type, "iso9660") != 0 &&
           (strncmp(type, "fuse", 4) != 0 || strcmp(type, "fuseblk") == 0);
}

static void send_mount(struct rasad_output *out, const char *device, const char *mountpoint)
{
    const char *const labels[] = {"device", device, "mountpoint", mountpoint, NULL};
    struct stat place;
    struct statvfs space;

    /* Containers mount single files, such as /etc/hosts. */
    if (stat(mountpoint, &place) != 0 || !S_ISDIR(place.st_mode) ||
        statvfs(mountpoint, &space) != 0 || space.f_blocks == 0)
        return;
    rasad_send_number(out, "filesystem_size_bytes", (double)space.f_blocks * (double)space.f_frsize,
                      labels);
    rasad_send_number(out, "filesystem_free_bytes", (double)space.f_bfree * (double)space.f_frsize,
                      labels);
    rasad_send_number(out, "filesystem_available_bytes",
                      (double)space.f_bavail * (double)space.f_frsize, labels);
}

static bool filesystem_collect(void *state, struct rasad_output *out)
{
    FILE *file = proc_open(out, "self/mounts");
    char *line = NULL;
    size_t room = 0;

    if (file == NULL)
        return false;
    while (getline(&line, &room, file) > 0) {
        char *rest = NULL;
        char *device = strtok_r(line, " \n", &rest);
        char *mountpoint = strtok_r(NULL, " \n", &rest);
        const char *type = strtok_r(NULL, " \n", &rest);

        if (type == NULL || !is_wanted(device, type))
            continue;
        unescape(device);
        unescape(mountpoint);
        send_mount(out, device, mountpoint);
    }
    free(line);
    (void)fclose(file);
    return true;
}

static const struct rasad_key keys[] = {
    {"filesystem_size_bytes", "gauge", "bytes", "device,mountpoint", "Size of the file system"},
    {"filesystem_free_bytes", "gauge", "bytes", "device,mountpoint", "Free space"},
    {"filesystem_available_bytes", "gauge", "bytes", "device,mountpoint",
     "Free space that users other than root may fill"},
};

RASAD_PUBLIC const struct rasad_collector rasad_collector = {
    RASAD_COLLECTOR_HEAD,
    .name = "filesystem",
    .version = "1.0",
    .help = "Size and free space of mounted block devices (/proc/self/mounts, statvfs)",
    RASAD_KEYS(keys),
    .interval_ns = 10000000000,
    .collect = filesystem_collect,
};
