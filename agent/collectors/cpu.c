/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cpu: the share of time that the processors, all together, were not idle since the last sample,
 * as a percentage with one decimal. From the first line of /proc/stat (proc_stat(5)): waiting for
 * I/O counts as idle, and guest time is not added since user time has it already.
 */
#include <math.h>

#include "proc.h"

/* The columns of the line that we add up: user, nice, system, idle, iowait, irq, softirq, steal. */
enum { IDLE = 3, IOWAIT = 4, COLUMNS = 8 };

struct state {
    bool primed;
    uint64_t idle; /* clock ticks since boot */
    uint64_t total;
};

static bool read_ticks(FILE *file, uint64_t *idle, uint64_t *total)
{
    char line[512], *at = line + 3;

    if (fgets(line, sizeof line, file) == NULL || strncmp(line, "cpu ", 4) != 0)
        return false;
    *idle = *total = 0;
    for (int i = 0; i < COLUMNS; i++) {
        unsigned long long ticks;
        int taken;

        /* Old kernels have fewer columns; the idle one they all have. */
        if (sscanf(at, "%llu%n", &ticks, &taken) != 1)
            return i > IDLE;
        at += taken;
        *total += ticks;
        if (i == IDLE || i == IOWAIT)
            *idle += ticks;
    }
    return true;
}

static bool cpu_collect(void *state, struct rasad_output *out)
{
    struct state *s = state, now = {.primed = true};
    FILE *file = proc_open(out, "stat");
    bool fine;

    if (file == NULL)
        return false;
    fine = read_ticks(file, &now.idle, &now.total);
    (void)fclose(file);
    if (!fine)
        return rasad_output_fail(out, "%s/stat has no line \"cpu\"", out->proc);
    if (s->primed && now.total > s->total) {
        double passed = (double)(now.total - s->total);
        /* The kernel lets idle and iowait fall a little at times. */
        double idle = now.idle > s->idle ? (double)(now.idle - s->idle) : 0;

        rasad_send_number(out, "CPU_Utilization", round(fmax(0, 1 - idle / passed) * 1000) / 10,
                          NULL);
    } else if (s->primed && now.total == s->total) {
        return true; /* no tick has passed: nothing to divide by */
    }
    *s = now;
    return true;
}

static const struct rasad_key keys[] = {
    {"CPU_Utilization", "gauge", "percent", "", "Utilization of CPU"},
};

RASAD_PUBLIC const struct rasad_collector rasad_collector = {
    RASAD_COLLECTOR_HEAD,      .name = "cpu",
    .version = "1.0",          .help = "Share of time not idle since the last sample (/proc/stat)",
    RASAD_KEYS(keys),          .state_size = sizeof(struct state),
    .interval_ns = 1000000000, .collect = cpu_collect,
};
