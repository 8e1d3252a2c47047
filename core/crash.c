/* SPDX-License-Identifier: Apache-2.0 */
#include "crash.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/scoped.h"

/* A line in the file; what is longer is cut. */
#define MOST_LINE 1024

/* How much of the file's end is read, and of what size on it begins anew. */
#define MOST_READ (64 << 10)
#define MOST_FILE (1 << 20)

/* Enough for the handler, with room for what a sanitizer does in it. */
#define STACK_BYTES (64 << 10)

static const int fatal[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT};
#define FATAL_COUNT (sizeof fatal / sizeof *fatal)

_Thread_local struct crash_place crash_place;

/* The handler's; it can be told nothing. */
static int record_fd = -1;
static struct sigaction previous[FATAL_COUNT];

/* ---- The record: only what a signal's handler may call ------------------------------------- */

struct line {
    char at[MOST_LINE];
    size_t length;
};

static void add_char(struct line *line, char c)
{
    if (line->length < sizeof line->at - 1)
        line->at[line->length++] = c;
}

static void add(struct line *line, const char *text)
{
    while (*text != '\0')
        add_char(line, *text++);
}

static void add_digits(struct line *line, uint64_t number, unsigned base)
{
    char digits[24];
    size_t count = 0;

    do
        digits[count++] = "0123456789abcdef"[number % base];
    while ((number /= base) > 0);
    while (count > 0)
        add_char(line, digits[--count]);
}

/* Bytes in quotes, at most so many; what could end the line or the quotes comes as a dot. */
static void add_quoted(struct line *line, const char *bytes, size_t length)
{
    add_char(line, '"');
    for (size_t i = 0; i < length && i < 200; i++)
        add_char(line, bytes[i] < ' ' || bytes[i] == '"' || bytes[i] == '\\' || bytes[i] == 127
                           ? '.'
                           : bytes[i]);
    add_char(line, '"');
}

static void write_record(int signal, const siginfo_t *info)
{
    const struct crash_place *place = &crash_place;
    struct line line = {.length = 0};

    add(&line, "time=");
    add_digits(&line, (uint64_t)(clock_wall_ns() / NS_PER_S), 10);
    add(&line, " plugin=");
    add(&line, place->plugin);
    add(&line, " signal=");
    add_digits(&line, (uint64_t)signal, 10);
    add(&line, " address=0x");
    add_digits(&line, signal == SIGABRT ? 0 : (uint64_t)(uintptr_t)info->si_addr, 16);
    add(&line, " number=");
    add_digits(&line, place->number, 10);
    add(&line, " family=");
    add_quoted(&line, place->family, strlen(place->family));
    add(&line, " agent=");
    add_quoted(&line, place->agent, place->agent != NULL ? strlen(place->agent) : 0);
    add(&line, " labels=");
    add_quoted(&line, place->labels, place->labels_size);
    line.at[line.length++] = '\n';
    if (write(record_fd, line.at, line.length) < 0)
        return; /* nobody is left to be told */
}

/* Whether a plugin's code, and nobody outside, has brought it on. */
static bool is_own(int signal, const siginfo_t *info)
{
    return info->si_code > 0 ||
           (signal == SIGABRT && (info->si_pid == getpid() || crash_place.hangs));
}

static void handle(int signal, siginfo_t *info, void *context)
{
    (void)context;
    /* First of all, so that a fault in here ends us, too. */
    for (size_t i = 0; i < FATAL_COUNT; i++)
        (void)sigaction(fatal[i], &previous[i], NULL);
    if (crash_place.plugin != NULL && is_own(signal, info))
        write_record(signal, info);
    /* A fault happens again when we return, and abort() goes on; what was sent is sent again. */
    if (info->si_code <= 0 && (signal != SIGABRT || info->si_pid != getpid()))
        (void)raise(signal);
}

/* The thread that writes the place is in it for good, and if it isn't, a word too many in a record
 * is all that comes of that. */
__attribute__((no_sanitize("thread"))) void crash_note_hang(const struct crash_place *place)
{
    crash_place.plugin = NULL;
    crash_place.hangs = place != NULL;
    if (place == NULL)
        return;
    crash_place.family = place->family;
    crash_place.agent = place->agent;
    crash_place.labels = place->labels;
    crash_place.labels_size = place->labels_size;
    crash_place.number = place->number;
    crash_place.plugin = place->plugin;
}

/* ---- Making ready -------------------------------------------------------------------------- */

bool crash_folder(const char *state_dir, const char *admin_socket, char folder[PATH_MAX])
{
    const char *slash = strrchr(admin_socket, '/');
    int length = slash != NULL ? (int)(slash - admin_socket) : 1;

    if (state_dir[0] != '\0')
        return snprintf(folder, PATH_MAX, "%s/crashes", state_dir) < PATH_MAX;
    return snprintf(folder, PATH_MAX, "%.*s/crashes", length, slash != NULL ? admin_socket : ".") <
           PATH_MAX;
}

static bool file_path(const char *folder, const char *name, char path[PATH_MAX])
{
    return snprintf(path, PATH_MAX, "%s/%s", folder, name) < PATH_MAX;
}

static void catch_signals(void)
{
    struct sigaction action = {.sa_sigaction = handle, .sa_flags = SA_SIGINFO | SA_ONSTACK};

    (void)sigemptyset(&action.sa_mask);
    for (size_t i = 0; i < FATAL_COUNT; i++)
        (void)sigaction(fatal[i], &action, &previous[i]);
}

bool crash_begin(const char *folder, struct rasad_error *error)
{
    char path[PATH_MAX], old[PATH_MAX];
    struct stat file;

    if (!file_path(folder, "crashes.log", path) || !file_path(folder, "crashes.log.1", old))
        return rasad_fail(error, "the path of %s is too long", folder);
    if (mkdir(folder, 0750) != 0 && errno != EEXIST)
        return rasad_fail(error, "cannot make %s: %s", folder, strerror(errno));
    if (stat(path, &file) == 0 && file.st_size > MOST_FILE)
        (void)rename(path, old);
    record_fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0640);
    if (record_fd < 0)
        return rasad_fail(error, "cannot write %s: %s", path, strerror(errno));
    catch_signals();
    return true;
}

void crash_end(void)
{
    if (record_fd < 0)
        return;
    for (size_t i = 0; i < FATAL_COUNT; i++)
        (void)sigaction(fatal[i], &previous[i], NULL);
    (void)close(record_fd);
    record_fd = -1;
}

static pthread_key_t stack_key;
static pthread_once_t stack_once = PTHREAD_ONCE_INIT;

static void end_stack(void *stack)
{
    const stack_t none = {.ss_flags = SS_DISABLE};

    (void)sigaltstack(&none, NULL);
    (void)munmap(stack, STACK_BYTES);
}

static void make_key(void)
{
    (void)pthread_key_create(&stack_key, end_stack);
}

void crash_use_stack(void)
{
    stack_t now, wanted = {.ss_size = STACK_BYTES};

    /* One that is there is ours, or a sanitizer's, who would unmap another's at the thread's end.
     */
    if (sigaltstack(NULL, &now) != 0 || (now.ss_flags & SS_DISABLE) == 0)
        return;
    (void)pthread_once(&stack_once, make_key);
    wanted.ss_sp =
        mmap(NULL, STACK_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (wanted.ss_sp == MAP_FAILED)
        return;
    if (pthread_setspecific(stack_key, wanted.ss_sp) != 0 || sigaltstack(&wanted, NULL) != 0)
        (void)munmap(wanted.ss_sp, STACK_BYTES);
}

/* ---- Reading ------------------------------------------------------------------------------- */

/* When the line says that the plugin crashed (wall); 0 if it doesn't. */
static int64_t crash_time(const char *line, const char *plugin)
{
    static const char time[] = "time=", name[] = " plugin=";
    char *end;
    long long seconds;

    if (strncmp(line, time, sizeof time - 1) != 0)
        return 0;
    seconds = strtoll(line + sizeof time - 1, &end, 10);
    if (strncmp(end, name, sizeof name - 1) != 0)
        return 0;
    end += sizeof name - 1;
    if (strncmp(end, plugin, strlen(plugin)) != 0 || end[strlen(plugin)] != ' ' || seconds <= 0 ||
        seconds > INT64_MAX / NS_PER_S)
        return 0;
    return (int64_t)seconds * NS_PER_S;
}

/* The end of the file, NUL-terminated; the caller frees it. NULL if there is none. */
static char *read_end(const char *folder)
{
    char path[PATH_MAX];
    SCOPED(close_at) int fd = -1;
    SCOPED(free_at) char *text = malloc(MOST_READ + 1);
    off_t size;
    ssize_t got;

    if (text == NULL || !file_path(folder, "crashes.log", path) ||
        (fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW)) < 0 ||
        (size = lseek(fd, 0, SEEK_END)) < 0)
        return NULL;
    got = pread(fd, text, MOST_READ, size > MOST_READ ? size - MOST_READ : 0);
    if (got < 0)
        return NULL;
    text[got] = '\0';
    return TAKE(text);
}

bool crash_blames(const char *folder, const char *plugin, int64_t now_ns)
{
    SCOPED(free_at) char *text = read_end(folder);
    int64_t last_ns = 0, before_ns = 0;

    for (const char *line = text; line != NULL && *line != '\0';) {
        int64_t time_ns = crash_time(line, plugin);

        if (time_ns != 0) {
            before_ns = last_ns;
            last_ns = time_ns;
        }
        line = strchr(line, '\n');
        line += line != NULL;
    }
    return before_ns != 0 && now_ns - last_ns < CRASH_WITHIN_NS &&
           last_ns - before_ns < CRASH_WITHIN_NS;
}
