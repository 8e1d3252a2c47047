/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/start.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/scoped.h"
#include "laws/sanitized.h"
#include "worker/worker.h"

static void limit(int what, rlim_t most)
{
    struct rlimit now;

    /* Never above what we were given, which setrlimit() would refuse. */
    if (getrlimit((__rlimit_resource_t)what, &now) == 0 && most < now.rlim_max)
        (void)setrlimit((__rlimit_resource_t)what, &(struct rlimit){most, most});
}

void start_limit(unsigned cpu_s)
{
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    limit(RLIMIT_CORE, 0);
    limit(RLIMIT_NOFILE, 64);
    limit(RLIMIT_CPU, cpu_s);
    limit(RLIMIT_FSIZE, 64 << 20);
    if (!LAWS_SANITIZED)
        limit(RLIMIT_AS, 1 << 30);
}

void start_say(const char *format, ...)
{
    va_list arguments;
    char line[1024];

    va_start(arguments, format);
    (void)vsnprintf(line, sizeof line - 1, format, arguments);
    va_end(arguments);
    for (char *at = line; (at = strchr(at, '\n')) != NULL;)
        *at = ' ';
    (void)strcat(line, "\n");
    if (write(WORKER_LINK, line, strlen(line)) < 0)
        _exit(EXIT_FAILURE); /* nobody listens any more */
}

static bool has_threads(void)
{
    DIR *folder = opendir("/proc/self/task");
    const struct dirent *entry;
    int count = 0;

    while (folder != NULL && (entry = readdir(folder)) != NULL)
        count += entry->d_name[0] != '.';
    if (folder != NULL)
        (void)closedir(folder);
    return count > 1;
}

/* A sanitizer's handlers would end us by an exit code; whoever started us is to see the signal. */
static void die_of_signals(void)
{
    static const int numbers[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGTRAP};

    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        (void)signal(numbers[i], SIG_DFL);
}

struct plugin *start_load(int fd, const char *path, const char *name)
{
    struct rasad_error error = {""};
    struct plugin *plugin = NULL;
    bool had_threads = has_threads(); /* a sanitizer's own */
    size_t place = strlen(path) + 2;

    die_of_signals();
    start_say("at loading");
    if (!plugin_adopt(fcntl(fd, F_DUPFD_CLOEXEC, WORKER_OLDER + 1), path, &plugin, &error) ||
        !plugin_load(plugin, name, &error)) {
        /* Whoever asked knows the path, and puts it in front again. */
        start_say("no %s", strlen(error.text) > place ? error.text + place : error.text);
        plugin_unref(plugin);
        return NULL;
    }
    (void)close(fd);
    if (has_threads() && !had_threads) {
        start_say("no it starts a thread while loading (a plugin has none)");
        _exit(EXIT_FAILURE); /* its code must not go while that thread runs */
    }
    return plugin;
}

void start_unload(struct plugin *plugin)
{
    start_say("at unloading");
    plugin_unref(plugin);
}
