/* SPDX-License-Identifier: Apache-2.0 */
/* The probe (probe.h), with the real worker, and plugins that go wrong while they are loaded. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "probe.h"

/* Probes FOLDER/NAME.so under this name; "" or what is wrong. */
static struct rasad_error probe(const char *folder, const char *file, const char *name)
{
    struct rasad_error error = {""};
    struct plugin *plugin;
    char path[4096];

    (void)snprintf(path, sizeof path, "%s/%s.so", folder, file);
    if (!plugin_take(path, &plugin, &error))
        fail_msg("%s", error.text);
    if (probe_plugin(plugin, name, &error))
        assert_string_equal(error.text, "");
    else
        assert_string_not_equal(error.text, "");
    plugin_unref(plugin);
    return error;
}

static int count_descriptors(void)
{
    DIR *folder = opendir("/proc/self/fd");
    int count = 0;

    assert_non_null(folder);
    while (readdir(folder) != NULL)
        count++;
    closedir(folder);
    return count;
}

static void test_sound_plugins_pass(void **unused)
{
    static const char *const names[] = {"gauge", "counter", "summary"};

    for (size_t i = 0; i < 3; i++)
        assert_string_equal(probe(PLUGINS, names[i], names[i]).text, "");
}

static void test_what_a_plugin_does_while_loading_is_told(void **unused)
{
    static const struct {
        const char *name, *why;
    } cases[] = {
        {"crashing", "it crashes while loading (SIGSEGV)"},
        {"aborting", "it crashes while loading (SIGABRT)"},
        {"leaving", "it ends its process while loading (exit code 0)"},
        {"threading", "it starts a thread while loading (a plugin has none)"},
        {"no_update", "incomplete: it has no update"},
        {"bad_kind", "of kind 77, which this server doesn't know"},
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct rasad_error error = probe(BROKEN, cases[i].name, cases[i].name);

        /* A sanitizer may have an exit code of its own for who leaves while it loads. */
        if (strcmp(cases[i].name, "leaving") == 0)
            (void)memcpy(strrchr(error.text, ' '), " 0)", 4);
        assert_string_equal(error.text, cases[i].why);
    }
    assert_string_equal(probe(BROKEN, "whole", "counter").text,
                        "it calls itself \"whole\" (name the file whole.so)");
}

static void test_a_hang_ends_at_the_deadline(void **unused)
{
    int64_t start_ns = clock_steady_ns();

    assert_string_equal(probe(BROKEN, "hanging", "hanging").text, "it hangs while loading");
    assert_in_range(clock_steady_ns() - start_ns, 4 * NS_PER_S, 9 * NS_PER_S);
}

static void test_nothing_stays_behind(void **unused)
{
    int before = count_descriptors();

    /* What the worker orphans becomes ours, so that we see it. */
    assert_int_equal(prctl(PR_SET_CHILD_SUBREAPER, 1), 0);
    assert_string_not_equal(probe(BROKEN, "forking", "forking").text, "");
    assert_string_not_equal(probe(BROKEN, "crashing", "crashing").text, "");
    for (int status; waitpid(-1, &status, 0) > 0;) /* it must come to an end */
        assert_true(WIFSIGNALED(status));
    assert_int_equal(errno, ECHILD);
    assert_int_equal(prctl(PR_SET_CHILD_SUBREAPER, 0), 0);
    assert_int_equal(count_descriptors(), before);
}

/* The server blocks its signals in all threads and ignores some; a worker must end by them. */
static void test_our_signals_are_not_the_workers(void **unused)
{
    sigset_t all, before;

    assert_int_equal(sigfillset(&all), 0);
    assert_int_equal(sigprocmask(SIG_BLOCK, &all, &before), 0);
    assert_true(signal(SIGCHLD, SIG_IGN) != SIG_ERR);
    assert_true(signal(SIGABRT, SIG_IGN) != SIG_ERR);
    assert_string_equal(probe(PLUGINS, "gauge", "gauge").text, "");
    assert_string_not_equal(probe(BROKEN, "aborting", "aborting").text, "");
    assert_true(signal(SIGCHLD, SIG_DFL) != SIG_ERR);
    assert_true(signal(SIGABRT, SIG_DFL) != SIG_ERR);
    assert_int_equal(sigprocmask(SIG_SETMASK, &before, NULL), 0);
}

/* Whatever numbers the plugin's copy and the pipe happen to have. */
static void test_the_lowest_descriptors_may_be_free(void **unused)
{
    int kept[3];

    for (int i = 0; i < 3; i++) {
        kept[i] = fcntl(i, F_DUPFD_CLOEXEC, 20);
        assert_true(kept[i] >= 0);
    }
    for (int i = 0; i < 3; i++)
        (void)close(i);
    struct rasad_error fine = probe(PLUGINS, "gauge", "gauge");
    struct rasad_error wrong = probe(BROKEN, "no_update", "no_update");
    for (int i = 0; i < 3; i++) {
        assert_int_equal(dup2(kept[i], i), i);
        (void)close(kept[i]);
    }
    assert_string_equal(fine.text, "");
    assert_string_equal(wrong.text, "incomplete: it has no update");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sound_plugins_pass),
        cmocka_unit_test(test_what_a_plugin_does_while_loading_is_told),
        cmocka_unit_test(test_a_hang_ends_at_the_deadline),
        cmocka_unit_test(test_nothing_stays_behind),
        cmocka_unit_test(test_our_signals_are_not_the_workers),
        cmocka_unit_test(test_the_lowest_descriptors_may_be_free),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
