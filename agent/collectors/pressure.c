/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pressure: for how long tasks stood still for want of a processor, memory or a disk since the last
 * sample, from /proc/pressure (the kernel's Documentation/accounting/psi.rst): `some` is time in
 * which one task at least waited, `full` time in which all did. Kernels without PSI have no such
 * folder; the agent says so once.
 */
#include "proc.h"

struct state {
    struct proc_devices stalls; /* "cpu some", "cpu full", … in microseconds */
};

static void send_line(struct state *s, struct rasad_output *out, const char *resource,
                      const char *line)
{
    char kind[8], name[32];
    unsigned long long total_us;

    if (sscanf(line, "%7s avg10=%*f avg60=%*f avg300=%*f total=%llu", kind, &total_us) != 2)
        return;
    (void)snprintf(name, sizeof name, "%s %s", resource, kind);
    uint64_t increment_us = total_us;

    if (proc_increments(&s->stalls, name, &increment_us, 1))
        rasad_send_number(out, "pressure_stalled_seconds_total", (double)increment_us / 1e6,
                          (const char *const[]){"resource", resource, "kind", kind, NULL});
}

static void collect_resource(struct state *s, struct rasad_output *out, const char *resource)
{
    char path[64], line[256];
    FILE *file;

    (void)snprintf(path, sizeof path, "pressure/%s", resource);
    file = proc_open(out, path);
    if (file == NULL)
        return;
    while (fgets(line, sizeof line, file) != NULL)
        send_line(s, out, resource, line);
    if (ferror(file)) /* with psi=0 the file is there, but can't be read */
        (void)rasad_output_fail(out, "cannot read %s/%s: %s", out->proc, path, strerror(errno));
    (void)fclose(file);
}

static bool pressure_collect(void *state, struct rasad_output *out)
{
    static const char *const resources[] = {"cpu", "io", "memory"};
    struct state *s = state;

    s->stalls.look++;
    for (size_t i = 0; i < sizeof resources / sizeof *resources; i++)
        collect_resource(s, out, resources[i]);
    return out->error[0] == '\0';
}

static const struct rasad_key keys[] = {
    {"pressure_stalled_seconds_total", "counter", "seconds", "resource,kind",
     "Time that tasks stood still for want of a resource"},
};

RASAD_PUBLIC const struct rasad_collector rasad_collector = {
    RASAD_COLLECTOR_HEAD,
    .name = "pressure",
    .version = "1.0",
    .help = "Time lost waiting for processors, memory and disks (/proc/pressure)",
    RASAD_KEYS(keys),
    .state_size = sizeof(struct state),
    .interval_ns = 10000000000,
    .collect = pressure_collect,
};
