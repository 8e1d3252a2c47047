/* SPDX-License-Identifier: Apache-2.0 */
#include "exporter/process.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/scoped.h"
#include "exporter/exposition.h"

/* Fields of /proc/self/stat, by their numbers in proc(5). */
enum {
    STAT_UTIME = 14,
    STAT_STIME = 15,
    STAT_THREADS = 20,
    STAT_START = 22,
    STAT_VSIZE = 23,
    STAT_RSS = 24,
    STAT_FIELDS = 25
};

static bool read_stat(double fields[STAT_FIELDS])
{
    SCOPED(fclose_at) FILE *file = fopen("/proc/self/stat", "re");
    char line[1024];
    char *at;

    if (file == NULL || fgets(line, sizeof line, file) == NULL)
        return false;
    at = strrchr(line, ')'); /* the program's name may hold anything */
    if (at == NULL)
        return false;
    at = strchr(at + 2, ' '); /* behind the state, field 3 */
    for (int i = 4; i < STAT_FIELDS && at != NULL; i++)
        fields[i] = strtod(at, &at);
    return at != NULL;
}

/* Seconds since 1970 when the machine started; 0 if it can't be told. */
static double boot_time(void)
{
    SCOPED(fclose_at) FILE *file = fopen("/proc/stat", "re");
    char line[4096];

    while (file != NULL && fgets(line, sizeof line, file) != NULL) {
        if (strncmp(line, "btime ", 6) == 0)
            return strtod(line + 6, NULL);
    }
    return 0;
}

int64_t process_open_descriptors(void)
{
    DIR *folder = opendir("/proc/self/fd");
    int64_t count = -1; /* less the one that counts */
    const struct dirent *entry;

    if (folder == NULL)
        return -1;
    while ((entry = readdir(folder)) != NULL)
        count += entry->d_name[0] != '.';
    (void)closedir(folder);
    return count;
}

static void add(struct text *out, const struct filter *filter, const char *name, const char *type,
                const char *help, double value)
{
    if (value < 0 || !filter_wants(filter, name))
        return;
    exposition_head(out, name, "", type, help);
    exposition_number(out, name, "", NULL, value);
}

/* The soft limit; -1 if there is none. */
static double limit(int resource)
{
    struct rlimit limits;

    if (getrlimit((__rlimit_resource_t)resource, &limits) != 0 || limits.rlim_cur == RLIM_INFINITY)
        return -1;
    return (double)limits.rlim_cur;
}

uint64_t process_resident_bytes(void)
{
    double stat[STAT_FIELDS];

    return read_stat(stat) ? (uint64_t)stat[STAT_RSS] * (uint64_t)sysconf(_SC_PAGESIZE) : 0;
}

void process_metrics(struct text *out, const struct filter *filter)
{
    double stat[STAT_FIELDS];
    double ticks = (double)sysconf(_SC_CLK_TCK);

    add(out, filter, "process_open_fds", "gauge", "Number of open file descriptors.",
        (double)process_open_descriptors());
    add(out, filter, "process_max_fds", "gauge", "Maximum number of open file descriptors.",
        limit(RLIMIT_NOFILE));
    add(out, filter, "process_virtual_memory_max_bytes", "gauge",
        "Maximum amount of virtual memory available in bytes.", limit(RLIMIT_AS));
    if (!read_stat(stat))
        return;
    add(out, filter, "process_cpu_seconds_total", "counter",
        "Total user and system CPU time spent in seconds.",
        (stat[STAT_UTIME] + stat[STAT_STIME]) / ticks);
    add(out, filter, "process_virtual_memory_bytes", "gauge", "Virtual memory size in bytes.",
        stat[STAT_VSIZE]);
    add(out, filter, "process_resident_memory_bytes", "gauge", "Resident memory size in bytes.",
        stat[STAT_RSS] * (double)sysconf(_SC_PAGESIZE));
    add(out, filter, "process_threads", "gauge", "Number of OS threads in the process.",
        stat[STAT_THREADS]);
    add(out, filter, "process_start_time_seconds", "gauge",
        "Start time of the process since unix epoch in seconds.",
        boot_time() + stat[STAT_START] / ticks);
}
