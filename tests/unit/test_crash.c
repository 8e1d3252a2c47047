/* SPDX-License-Identifier: Apache-2.0 */
/* The crash record (crash.h): processes of the test's own die in every way, and are blamed for it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/scoped.h"
#include "crash.h"

#define NOW (1700000000 * NS_PER_S)

static int make_folder(void **state)
{
    char *folder = strdup("/tmp/rasad-crash-XXXXXX");

    *state = folder;
    return folder != NULL && mkdtemp(folder) != NULL ? 0 : -1;
}

static int remove_folder(void **state)
{
    char path[128];

    (void)snprintf(path, sizeof path, "%s/crashes.log", (char *)*state);
    (void)unlink(path);
    (void)snprintf(path, sizeof path, "%s/crashes.log.1", (char *)*state);
    (void)unlink(path);
    (void)rmdir(*state);
    free(*state);
    return 0;
}

static void write_log(const char *folder, const char *text)
{
    char path[128];
    SCOPED(fclose_at) FILE *file = NULL;

    (void)snprintf(path, sizeof path, "%s/crashes.log", folder);
    assert_non_null(file = fopen(path, "we"));
    assert_true(fputs(text, file) >= 0);
}

static void read_log(const char *folder, char text[4096])
{
    char path[128];
    SCOPED(fclose_at) FILE *file = NULL;

    (void)snprintf(path, sizeof path, "%s/crashes.log", folder);
    assert_non_null(file = fopen(path, "re"));
    text[fread(text, 1, 4095, file)] = '\0';
}

/* ---- Ways to die --------------------------------------------------------------------------- */

/* Not quite null, of which a sanitizer would make something else than a signal. */
static volatile int *volatile nowhere = (volatile int *)64;

static void write_nowhere(void)
{
    *nowhere = 1;
}

static void call_abort(void)
{
    abort();
}

static void execute_nonsense(void)
{
    __builtin_trap();
}

static volatile bool deeper = true;

static void recurse(volatile char *from)
{
    volatile char room[4096];

    room[0] = from[0];
    if (deeper)
        recurse(room);
    room[1] = room[0];
}

static void overflow_the_stack(void)
{
    recurse("");
}

typedef void way(void);

struct dying {
    const char *plugin;
    way *how;
};

static void *die(void *context)
{
    const struct dying *dying = context;

    crash_use_stack();
    crash_place = (struct crash_place){
        .agent = "web \"1\"\n", .labels = "/path", .labels_size = 5, .number = 17};
    crash_enter("peak", "rtt_seconds");
    if (dying->plugin == NULL)
        crash_leave();
    dying->how();
    return NULL;
}

/* In a process of its own: nothing of what a sanitizer says about it is to be seen. */
static void prepare(const char *folder)
{
    const struct rlimit none = {0, 0};
    static const int fatal[] = {SIGSEGV, SIGABRT, SIGILL};
    int silence = open("/dev/null", O_WRONLY);

    for (size_t i = 0; i < sizeof fatal / sizeof *fatal; i++)
        (void)signal(fatal[i], SIG_DFL); /* cmocka's own handlers */
    (void)setrlimit(RLIMIT_CORE, &none);
    if (dup2(silence, STDERR_FILENO) < 0 || !crash_begin(folder, NULL))
        _exit(99);
}

/* Lets a process die in one of its threads; how it ended. */
static int let_die(const char *folder, const char *plugin, way *how)
{
    struct dying dying = {plugin, how};
    pthread_t thread;
    int status;
    pid_t pid = fork();

    assert_true(pid >= 0);
    if (pid == 0) {
        prepare(folder);
        if (pthread_create(&thread, NULL, die, &dying) == 0)
            (void)pthread_join(thread, NULL);
        _exit(0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return status;
}

static void each_fatal_signal_is_noted_and_still_fatal(void **state)
{
    static const struct {
        way *how;
        int signal;
    } ways[] = {
        {write_nowhere, SIGSEGV},
        {call_abort, SIGABRT},
        {execute_nonsense, SIGILL},
        {overflow_the_stack, SIGSEGV},
    };

    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
        char wanted[128], log[4096];
        int status = let_die(*state, "peak", ways[i].how);

        assert_true(WIFSIGNALED(status));
        assert_int_equal(WTERMSIG(status), ways[i].signal);
        read_log(*state, log);
        (void)snprintf(wanted, sizeof wanted, " plugin=peak signal=%d address=0x", ways[i].signal);
        if (strstr(log, wanted) == NULL)
            fail_msg("no \"%s\" in \"%s\"", wanted, log);
        assert_non_null(strstr(log, " number=17 family=\"rtt_seconds\" agent=\"web .1..\" "
                                    "labels=\"/path\"\n"));
        write_log(*state, "");
    }
}

static void a_crash_without_a_plugin_blames_none(void **state)
{
    char log[4096];

    assert_int_not_equal(let_die(*state, NULL, write_nowhere), 0);
    read_log(*state, log);
    assert_string_equal(log, "");
}

static void wait_for_ever(void)
{
    for (;;)
        (void)pause();
}

/* Somebody sends a signal to a process which is in a plugin, or in which another thread hangs
 * there; what is in the log then. */
static void end_from_outside(const char *folder, int signal, bool hangs, char log[4096])
{
    static const struct crash_place place = {.plugin = "peak", .family = "rtt_seconds"};
    int status, ready[2];
    pid_t pid;

    assert_int_equal(pipe(ready), 0);
    if ((pid = fork()) == 0) {
        prepare(folder);
        if (hangs)
            crash_note_hang(&place);
        else
            crash_enter("peak", "rtt_seconds");
        if (write(ready[1], "", 1) == 1)
            wait_for_ever();
        _exit(0);
    }
    assert_int_equal(read(ready[0], log, 1), 1);
    assert_int_equal(kill(pid, signal), 0);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_not_equal(status, 0);
    assert_true(signal != SIGABRT || (WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT));
    read_log(folder, log);
    (void)close(ready[0]);
    (void)close(ready[1]);
}

static void a_signal_from_outside_blames_nobody(void **state)
{
    static const int signals[] = {SIGSEGV, SIGABRT};
    char log[4096];

    for (size_t i = 0; i < sizeof signals / sizeof *signals; i++) {
        end_from_outside(*state, signals[i], false, log);
        assert_string_equal(log, "");
    }
}

static void a_watchdog_blames_who_hangs(void **state)
{
    char log[4096];

    end_from_outside(*state, SIGSEGV, true, log);
    assert_string_equal(log, "");
    end_from_outside(*state, SIGABRT, true, log);
    assert_non_null(strstr(log, " plugin=peak signal=6 "));
    crash_note_hang(&(struct crash_place){.plugin = "peak"});
    crash_note_hang(NULL);
    assert_null(crash_place.plugin);
}

static void two_real_crashes_isolate(void **state)
{
    (void)let_die(*state, "peak", write_nowhere);
    assert_false(crash_blames(*state, "peak", clock_wall_ns()));
    (void)let_die(*state, "peak", write_nowhere);
    assert_true(crash_blames(*state, "peak", clock_wall_ns()));
    assert_false(crash_blames(*state, "pea", clock_wall_ns()));
    assert_false(crash_blames(*state, "peak", clock_wall_ns() + CRASH_WITHIN_NS));
}

static void what_isolates_goes_by_the_records(void **state)
{
    static const struct {
        const char *log;
        bool blames; /* "peak", at second 1700000000 */
    } cases[] = {
        {"", false},
        {"time=1699999990 plugin=peak signal=11\n", false}, /* one is none */
        {"time=1699999980 plugin=peak s\ntime=1699999990 plugin=peak s\n", true},
        {"time=1699999000 plugin=peak s\ntime=1699999990 plugin=peak s\n", false}, /* far apart */
        {"time=1699999395 plugin=peak s\ntime=1699999990 plugin=peak s\n",
         true},                                                                    /* near, though
                                                                                      the first is old */
        {"time=1699999300 plugin=peak s\ntime=1699999399 plugin=peak s\n", false}, /* long ago */
        {"time=1699999980 plugin=sum s\ntime=1699999990 plugin=peak s\n", false},  /* others' */
        {"time=1699999980 plugin=peak s\nnonsense\n\ntime=x plugin=peak\n"
         "time=1699999990 plugin=peak s",
         true},
        {"time=99999999999999999999 plugin=peak s\ntime=1699999990 plugin=peak s\n", false},
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        write_log(*state, cases[i].log);
        if (crash_blames(*state, "peak", NOW) != cases[i].blames)
            fail_msg("case %zu", i);
    }
}

static void the_folder_goes_by_the_conf(void **unused)
{
    char folder[PATH_MAX];

    assert_true(crash_folder("/var/lib/rasad", "/run/rasad/rasad.sock", folder));
    assert_string_equal(folder, "/var/lib/rasad/crashes");
    assert_true(crash_folder("", "/run/rasad/rasad.sock", folder));
    assert_string_equal(folder, "/run/rasad/crashes");
    assert_true(crash_folder("", "rasad.sock", folder));
    assert_string_equal(folder, "./crashes");
}

static void what_cannot_be_written_is_an_error(void **unused)
{
    struct rasad_error error = {""};

    assert_false(crash_begin("/proc/no/such/folder", &error));
    assert_non_null(strstr(error.text, "cannot make /proc/no/such/folder"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(each_fatal_signal_is_noted_and_still_fatal, make_folder,
                                        remove_folder),
        cmocka_unit_test_setup_teardown(a_crash_without_a_plugin_blames_none, make_folder,
                                        remove_folder),
        cmocka_unit_test_setup_teardown(a_watchdog_blames_who_hangs, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(a_signal_from_outside_blames_nobody, make_folder,
                                        remove_folder),
        cmocka_unit_test_setup_teardown(two_real_crashes_isolate, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(what_isolates_goes_by_the_records, make_folder,
                                        remove_folder),
        cmocka_unit_test(the_folder_goes_by_the_conf),
        cmocka_unit_test(what_cannot_be_written_is_an_error),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
