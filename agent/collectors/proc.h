/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * proc: what our collectors share: opening files of /proc, and turning the kernel's counts since
 * boot into increments, which is what the `counter` metric adds up.
 */
#include <errno.h>
#include <limits.h>
#include <rasad/collector.h>
#include <stddef.h>
#include <string.h>

/* Opens a file below out->proc for reading; NULL, with the error filled, if that fails. */
static inline FILE *proc_open(struct rasad_output *out, const char *name)
{
    char path[PATH_MAX];
    FILE *file;

    (void)snprintf(path, sizeof path, "%s/%s", out->proc, name);
    file = fopen(path, "re");
    if (file == NULL)
        (void)rasad_output_fail(out, "cannot read %s: %s", path, strerror(errno));
    return file;
}

/* Counts of one device, as they were at the last look. */
struct proc_device {
    char name[32];      /* "" is a free place */
    uint64_t look;      /* number of the last look that saw it */
    uint64_t counts[8]; /* in the collector's own order */
};

/* All devices of a collector; zero at the start. Those beyond its places are left out. */
struct proc_devices {
    uint64_t look; /* number of the current look; the collector raises it */
    struct proc_device places[128];
};

/* The place that a device has, or may have since another one is gone; NULL if there is none. */
static inline struct proc_device *proc_place(struct proc_devices *devices, const char *name)
{
    struct proc_device *spare = NULL;

    for (size_t i = 0; i < sizeof devices->places / sizeof *devices->places; i++) {
        struct proc_device *place = &devices->places[i];

        if (strcmp(place->name, name) == 0)
            return place;
        if (spare == NULL && (place->name[0] == '\0' || place->look + 1 < devices->look))
            spare = place;
    }
    return spare;
}

/*
 * Notes the counts of a device and turns them into what was added since the last look. False if
 * that isn't known: at the first sight, and after a count fell, since the device is another one.
 */
static inline bool proc_increments(struct proc_devices *devices, const char *name, uint64_t *counts,
                                   size_t count)
{
    struct proc_device *place;
    bool known;

    if (name[0] == '\0' || strlen(name) >= sizeof place->name)
        return false;
    place = proc_place(devices, name);
    if (place == NULL)
        return false;
    known = strcmp(place->name, name) == 0 && place->look + 1 == devices->look;
    for (size_t i = 0; i < count; i++) {
        uint64_t before = place->counts[i];

        known = known && counts[i] >= before;
        place->counts[i] = counts[i];
        counts[i] -= before;
    }
    place->look = devices->look;
    memcpy(place->name, name, strlen(name) + 1);
    return known;
}
