/* SPDX-License-Identifier: Apache-2.0 */
/*
 * memory: how the host's memory and swap are used, in bytes, from /proc/meminfo
 * (proc_meminfo(5), whose "kB" are KiB).
 */
#include "proc.h"

static const struct {
    const char *field; /* in /proc/meminfo */
    const char *kind;  /* the label's value */
} kinds[] = {
    {"MemTotal", "total"},
    {"MemFree", "free"},
    {"MemAvailable", "available"},
    {"Buffers", "buffers"},
    {"Cached", "cached"},
    {"Shmem", "shared"},
    {"Slab", "slab"},
    {"Dirty", "dirty"},
    {"SwapTotal", "swap_total"},
    {"SwapFree", "swap_free"},
    {"SwapCached", "swap_cached"},
};

static bool send_field(struct rasad_output *out, const char *field, double bytes)
{
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        if (strcmp(kinds[i].field, field) == 0) {
            rasad_send_number(out, "memory_bytes", bytes,
                              (const char *const[]){"kind", kinds[i].kind, NULL});
            return true;
        }
    }
    return false;
}

static bool memory_collect(void *state, struct rasad_output *out)
{
    FILE *file = proc_open(out, "meminfo");
    char line[256], field[64];
    unsigned long long kib;
    bool found = false;

    if (file == NULL)
        return false;
    while (fgets(line, sizeof line, file) != NULL) {
        if (sscanf(line, "%63[^:]: %llu kB", field, &kib) == 2)
            found |= send_field(out, field, (double)kib * 1024);
    }
    (void)fclose(file);
    return found || rasad_output_fail(out, "%s/meminfo has nothing that we know", out->proc);
}

static const struct rasad_key keys[] = {
    {"memory_bytes", "gauge", "bytes", "kind", "Memory and swap by kind"},
};

RASAD_PUBLIC const struct rasad_collector rasad_collector = {
    RASAD_COLLECTOR_HEAD,      .name = "memory",
    .version = "1.0",          .help = "Use of memory and swap (/proc/meminfo)",
    RASAD_KEYS(keys),          .interval_ns = 10000000000,
    .collect = memory_collect,
};
