/* SPDX-License-Identifier: Apache-2.0 */
/*
 * load: the mean number of processes that ran or waited to run or for a disk over the last 1, 5 and
 * 15 minutes, from /proc/loadavg (proc_loadavg(5)).
 */
#include "proc.h"

static bool load_collect(void *state, struct rasad_output *out)
{
    static const char *const names[] = {"load1", "load5", "load15"};
    FILE *file = proc_open(out, "loadavg");
    double loads[3];
    int read;

    if (file == NULL)
        return false;
    read = fscanf(file, "%lf %lf %lf", &loads[0], &loads[1], &loads[2]);
    (void)fclose(file);
    if (read != 3)
        return rasad_output_fail(out, "%s/loadavg has no three numbers", out->proc);
    for (int i = 0; i < 3; i++)
        rasad_send_number(out, names[i], loads[i], NULL);
    return true;
}

static const struct rasad_key keys[] = {
    {"load1", "gauge", "", "", "Load average over 1 minute"},
    {"load5", "gauge", "", "", "Load average over 5 minutes"},
    {"load15", "gauge", "", "", "Load average over 15 minutes"},
};

RASAD_PUBLIC const struct rasad_collector rasad_collector = {
    RASAD_COLLECTOR_HEAD,    .name = "load",
    .version = "1.0",        .help = "Load averages (/proc/loadavg)",
    RASAD_KEYS(keys),        .interval_ns = 10000000000,
    .collect = load_collect,
};
