/* SPDX-License-Identifier: Apache-2.0 */
#include "conf/conf.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/install.h"
#include "base/scoped.h"

/* In every conf here; the cases begin on line 2. */
#define FOLDERS "plugin_path = { \"" PLUGINS "\", \"" SAMPLES "\" }\n"

static const struct {
    const char *input;
    const char *report;
    const char *why;
} cases[] = {
    {"", "", "nothing but defaults"},
    {"metric \"a\" { plugin = \"guage\" }",
     "C:2: unknown plugin \"guage\" (did you mean \"gauge\"?)\n", "a plugin that isn't there"},
    {"metric \"a\" {\n}\nmetric \"b\" { help = \"x\" }",
     "C:2: \"plugin\" is missing (write plugin = \"…\")\n"
     "C:4: \"plugin\" is missing (write plugin = \"…\")\n",
     "no plugin"},
    {"metric \"a\" { plugin = \"no_good\" }", NULL, "a plugin that can't be loaded"},
    {"metric \"a\" { plugin = \"bad_preset\" must = \"x\" }",
     "C:2: plugin \"bad_preset\": the preset of option \"number\" makes no sense: \"much\"\n",
     "a plugin's own mistake"},
    {"metric \"a\" { plugin = \"bad_row\" must = \"x\" }",
     "C:2: plugin \"bad_row\" has an option \"labels\", as every metric has (rename it)\n",
     "an option that all metrics have"},
    {"metric \"a\" {\n plugin = \"letter_counter\"\n leters = \"a\" }",
     "C:2: \"letters\" is missing (write letters = \"…\")\n"
     "C:4: unknown option \"leters\" (did you mean \"letters\"?)\n",
     "an option of the plugin, misspelt"},
    {"metric \"a\" { plugin = \"nix\" leters = \"a\"\n max_series = 0 }",
     "C:2: unknown plugin \"nix\" (no folder of plugin_path has a nix.so)\n"
     "C:3: \"max_series\" is 0, which is too small (write at least 1)\n",
     "of an unknown plugin no option is known, but the common ones are"},
    {"metric \"a\" { plugin = \"sample\" must = \"no\" }",
     "C:2: must can't be \"no\" (write \"yes\")\n", "what configure() refuses"},
    {"metric \"a\" { plugin = \"sample\" must = \"x\"\n number = 1e4\nspan = 0s\nnumbers = { -1 }\n"
     "integer = 11 }",
     "C:3: \"number\" is 1e4, which is too large (write at most 1e3)\n"
     "C:4: \"span\" is 0s, which is too small (write at least 1s)\n"
     "C:5: \"numbers\" is -1, which is too small (write at least 0)\n"
     "C:6: \"integer\" is 11, which is too large (write at most 10)\n",
     "bounds of the plugin's table"},
    {"metric \"a\" { plugin = \"histogram\"\n buckets = { 1, 0.1 } }",
     "C:2: buckets must rise, but 0.1 follows 1 (write the smallest first)\n",
     "the section's line"},

    {"metric \"a\" { plugin = \"gauge\" labels = { \"ok\", \"le\", \"quantile\", \"overflow\",\n"
     "\"job\", \"instance\", \"__x\", \"9\", \"a-b\", \"\", \"agent\", \"ok\" } }",
     "C:2: label \"le\" is a reserved label (choose another name)\n"
     "C:2: label \"quantile\" is a reserved label (choose another name)\n"
     "C:2: label \"overflow\" is a reserved label (choose another name)\n"
     "C:3: label \"job\" is a reserved label (choose another name)\n"
     "C:3: label \"instance\" is a reserved label (choose another name)\n"
     "C:3: label \"__x\" begins with _, which is reserved (leave the _ out)\n"
     "C:3: label \"9\" is no label name (write letters, digits and _, and no digit first)\n"
     "C:3: label \"a-b\" is no label name (write letters, digits and _, and no digit first)\n"
     "C:3: label \"\" is no label name (write letters, digits and _, and no digit first)\n"
     "C:3: label \"agent\" is the agent label (choose another name, or another agent_label)\n"
     "C:3: label \"ok\" is there twice (remove one)\n",
     "labels"},
    {"agent_label = \"host\"\nmetric \"a\" { plugin = \"gauge\" labels = { \"agent\", \"host\" } }",
     "C:3: label \"host\" is the agent label (choose another name, or another agent_label)\n",
     "another agent label"},
    {"agent_label = \"job\"",
     "C:2: agent_label \"job\" is a reserved label (choose another name)\n",
     "an agent label that can't be"},
    {"agent_label = \"\"\nmetric \"a\" { plugin = \"gauge\" labels = { \"agent\" } }", "",
     "no agent label"},

    {"metric \"a\" { plugin = \"gauge\" name = \"a:b\" }\nmetric \"b\" { plugin = \"gauge\" name = "
     "\"\" }",
     "C:2: \"a:b\" is no metric name (write letters, digits and _, and no digit first)\n"
     "C:3: \"\" is no metric name (write letters, digits and _, and no digit first)\n",
     "names"},
    {"metric \"rasad-x\" { plugin = \"gauge\" }\nmetric \"b\" { plugin = \"gauge\"\nname = "
     "process_y }\nmetric \"scrape_z\" { plugin = \"gauge\" name = \"z\" }",
     "C:2: the name \"rasad_x\" is reserved: rasad_, process_ and scrape_ are our own (write name "
     "= \"…\" with another beginning)\n"
     "C:4: the name \"process_y\" is reserved: rasad_, process_ and scrape_ are our own (write "
     "name = \"…\" with another beginning)\n",
     "our own names"},
    {"metric \"x y\" { plugin = \"gauge\" }\nmetric \"x-y\" { plugin = \"gauge\" }\nmetric \"z\" { "
     "plugin = \"gauge\" name = \"x_y\" }",
     "C:3: metric \"x-y\" has the name \"x_y\", as \"x y\" in line 2 has (write another name = "
     "\"…\")\n"
     "C:4: metric \"z\" has the name \"x_y\", as \"x y\" in line 2 has (write another name = "
     "\"…\")\n",
     "keys and names that become one"},
    {"metric \"h_count\" { plugin = \"gauge\" }\nmetric \"h\" { plugin = \"histogram\" }",
     "C:3: metric \"h\" clashes with \"h_count\" in line 2: both make \"h_count\" (write another "
     "name = \"…\")\n",
     "a histogram's samples"},
    {"metric \"h\" { plugin = \"histogram\" }\nmetric \"h_bucket\" { plugin = \"gauge\" }",
     "C:3: metric \"h_bucket\" clashes with \"h\" in line 2: both make \"h_bucket\" (write another "
     "name = \"…\")\n",
     "its buckets"},
    {"metric \"s\" { plugin = \"summary\" }\nmetric \"s_bucket\" { plugin = \"gauge\" }", "",
     "a summary has none"},
    {"metric \"c_total\" { plugin = \"counter\" }\nmetric \"c_created\" { plugin = \"gauge\" }",
     "C:3: metric \"c_created\" clashes with \"c_total\" in line 2: both make \"c_created\" (write "
     "another name = \"…\")\n",
     "a counter's, without its _total"},
    {"metric \"c_total\" { plugin = \"counter\" }\nmetric \"c\" { plugin = \"counter\" }",
     "C:3: metric \"c\" clashes with \"c_total\" in line 2: both make \"c\" (write another name = "
     "\"…\")\n",
     "two counters that are one"},
    {"metric \"x*\" { plugin = \"gauge\" }\nmetric \"x?\" { plugin = \"gauge\" }\nmetric \"x1\" { "
     "plugin = \"histogram\" }",
     "", "globs without a name are checked when their keys come"},
    {"metric \"x*\" { plugin = \"gauge\" name = \"x\" }\nmetric \"x\" { plugin = \"gauge\" }",
     "C:3: metric \"x\" has the name \"x\", as \"x*\" in line 2 has (write another name = \"…\")\n",
     "a glob with a name has that one"},
    {"metric \"a\" { plugin = \"gauge\" }\nmetric \"a\" { plugin = \"counter\" }",
     "C:3: metric \"a\" is there twice, first in line 2 (remove one, or change its title)\n",
     "one complaint, not two"},

    {"listen { tls_cert = \"x\" }\nhttp {\ntls_key = \"y\"\ntls_client_ca = \"z\" }",
     "C:2: \"tls_cert\": TLS is not there yet (leave it out)\n"
     "C:4: \"tls_key\": TLS is not there yet (leave it out)\n"
     "C:5: \"tls_client_ca\": TLS is not there yet (leave it out)\n",
     "TLS"},
    {"listen { port = 65536 }\nhttp { port = -1 }\nthreads = 65",
     "C:2: \"port\" is 65536, which is too large (write at most 65535)\n"
     "C:3: \"port\" is -1, which is too small (write at least 0)\n"
     "C:4: \"threads\" is 65, which is too large (write at most 64)\n",
     "ranges"},
    {"max_message = 1023\nstale_after = 5\nagent_ttl = never",
     "C:2: \"max_message\" must be 1KiB to 64MiB, got \"1023\" (write bytes, or such as \"64KiB\" "
     "or \"1MiB\")\n"
     "C:3: \"stale_after\" must be a duration or \"never\", got \"5\" (write stale_after = \"5m\"; "
     "units: ms, s, m, h, d)\n"
     "C:4: \"agent_ttl\" must be a duration, got \"never\" (write agent_ttl = \"5m\"; units: ms, "
     "s, m, h, d)\n",
     "sizes and durations"},
    {"listen { address = \"unix:\" }\nadmin_socket = \"\"",
     "C:2: \"address\" has no path (write address = \"…/rasad.sock\")\n",
     "paths of sockets; no admin socket is fine"},
};

static void write_conf(const char *folders, const char *input)
{
    SCOPED(fclose_at) FILE *file = fopen("C", "w");

    assert_non_null(file);
    assert_true(fprintf(file, "%s%s\n", folders, input) > 0);
}

static void conf_free_at(struct conf **conf)
{
    conf_free(*conf);
}

static void check_case(size_t i)
{
    SCOPED(conf_free_at) struct conf *conf = NULL;
    SCOPED(text_free) struct text report = {0};
    bool fine;

    write_conf(FOLDERS, cases[i].input);
    fine = conf_read("C", NULL, NULL, &conf, &report);
    if (cases[i].report == NULL) {
        assert_false(fine);
        assert_non_null(strstr(text_end(&report), "C:2: "));
        return;
    }
    if (fine != (cases[i].report[0] == '\0') || strcmp(text_end(&report), cases[i].report) != 0)
        fail_msg("%s: %s\nreport:\n%s", cases[i].why, cases[i].input, text_end(&report));
}

static void test_every_error_is_told_with_its_line(void **unused)
{
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        check_case(i);
}

static void read_fine(const char *folders, const char *input, struct conf **conf)
{
    SCOPED(text_free) struct text report = {0};

    write_conf(folders, input);
    if (!conf_read("C", NULL, NULL, conf, &report))
        fail_msg("%s\nreport:\n%s", input, text_end(&report));
}

static void test_without_a_word_the_defaults_hold(void **unused)
{
    SCOPED(conf_free_at) struct conf *conf = NULL;
    struct rasad_error error;
    char own[PATH_MAX];

    read_fine("", "", &conf);
    assert_string_equal(conf->listen.address, "127.0.0.1");
    assert_int_equal(conf->listen.port, 5050);
    assert_string_equal(conf->http.address, "127.0.0.1");
    assert_int_equal(conf->http.port, 8000);
    assert_int_equal(conf->plugin_path_count, 2);
    assert_string_equal(conf->plugin_path[0], "/usr/local/lib/rasad/plugins");
    assert_true(install_path(RASAD_PLUGIN_DIR, own, &error));
    assert_string_equal(conf->plugin_path[1], own);
    assert_string_equal(conf->state_dir, "");
    assert_string_equal(conf->admin_socket, "/run/rasad/rasad.sock");
    assert_string_equal(conf->agent_label, "agent");
    assert_int_equal(conf->threads, 0);
    assert_int_equal(conf->max_message, 1 << 20);
    assert_int_equal(conf->stale_after_ns, INT64_C(300000000000));
    assert_int_equal(conf->anonymous_expire_ns, INT64_C(3600000000000));
    assert_int_equal(conf->agent_ttl_ns, INT64_C(2592000000000000));
    assert_int_equal(conf->metric_count, 0);
}

static void test_what_is_written_holds(void **unused)
{
    SCOPED(conf_free_at) struct conf *conf = NULL;
    const struct conf_metric *metric;

    read_fine(FOLDERS,
              "listen { address = \"unix:/run/x\" port = 0 }\nthreads = 3 max_message = 64KiB\n"
              "stale_after = never\nmetric \"a b\" { plugin = \"gauge\" labels = { \"p\", \"q\" } "
              "expire = \"5m\" max_series = 5 max_families = 6 }\nmetric \"x*\" { plugin = "
              "\"gauge\" help = \"X\" }\nmetric \"1\" { plugin = \"counter\" name = \"one\" }",
              &conf);
    assert_string_equal(conf->listen.address, "unix:/run/x");
    assert_int_equal(conf->listen.port, 0);
    assert_int_equal(conf->threads, 3);
    assert_int_equal(conf->max_message, 65536);
    assert_int_equal(conf->stale_after_ns, 0);
    assert_int_equal(conf->metric_count, 3);
    metric = &conf->metrics[0];
    assert_string_equal(metric->key, "a b");
    assert_string_equal(metric->name, "a_b");
    assert_string_equal(metric->help, metric->aggregate.plugin->api.help);
    assert_false(metric->is_glob);
    assert_int_equal(metric->label_count, 2);
    assert_string_equal(metric->labels[1], "q");
    assert_int_equal(metric->expire_ns, INT64_C(300000000000));
    assert_int_equal(metric->max_series, 5);
    assert_int_equal(metric->max_families, 6);
    assert_string_equal(metric->file, "C");
    assert_int_equal(metric->line, 5);
    assert_true(metric[1].is_glob);
    assert_null(metric[1].name);
    assert_string_equal(metric[1].help, "X");
    assert_int_equal(metric[1].expire_ns, 0);
    assert_string_equal(metric[2].name, "one");
}

/* As plugins/sample.c has it. */
struct sample_config {
    double number;
    int64_t integer;
    bool flag;
    const char *text;
    int64_t span;
    struct rasad_numbers numbers;
    struct rasad_texts texts;
    const char *must;
    char *derived;
};

static void test_a_plugin_gets_its_presets_and_values(void **unused)
{
    SCOPED(conf_free_at) struct conf *conf = NULL;
    const struct sample_config *config;

    read_fine(
        FOLDERS,
        "metric \"a\" { plugin = \"sample\" must = \"x\" }\nmetric \"b\" { plugin = \"sample\""
        " must = \"y\" number = -inf integer = 10 flag = off text = \"\" span = 1500ms "
        "numbers = {} texts = one }",
        &conf);
    config = conf->metrics[0].aggregate.config;
    assert_true(config->number == 0.5 && config->integer == 7 && config->flag);
    assert_string_equal(config->text, "a, b");
    assert_true(config->span == INT64_C(90000000000));
    assert_true(config->numbers.count == 3 && config->numbers.at[2] == INFINITY);
    assert_true(config->texts.count == 2);
    assert_string_equal(config->texts.at[0], "x");
    assert_string_equal(config->derived, "x"); /* configure() was called after all that */
    config = conf->metrics[1].aggregate.config;
    assert_true(config->number == -INFINITY && config->integer == 10 && !config->flag);
    assert_string_equal(config->text, "");
    assert_true(config->span == INT64_C(1500000000));
    assert_true(config->numbers.count == 0);
    assert_true(config->texts.count == 1);
    assert_string_equal(config->texts.at[0], "one");
}

static void test_the_effective_conf_is_a_conf_and_means_the_same(void **unused)
{
    SCOPED(text_free) struct text shown = {0}, again = {0};

    for (int round = 0; round < 2; round++) {
        SCOPED(conf_free_at) struct conf *conf = NULL;
        struct text *out = round == 0 ? &shown : &again;

        if (round == 0)
            read_fine(FOLDERS,
                      "http { port = 0 }\nmetric \"a\\\"\\\\$\" { plugin = \"sample\" must = \"x\" "
                      "number = 0.1 labels = { \"p\" } }\nmetric \"x*\" { plugin = \"gauge\" }",
                      &conf);
        else
            read_fine("", text_end(&shown), &conf);
        conf_print(conf, out);
    }
    assert_non_null(strstr(text_end(&shown), "    port = 0 # C:2\n"));
    assert_non_null(strstr(text_end(&shown), "    integer = 7 # default\n"));
    for (struct text *text = &shown; text != NULL; text = text == &shown ? &again : NULL) {
        bool in_comment = false; /* the origins differ */

        for (size_t i = 0; i < text->length; i++) {
            in_comment = text->at[i] == '#' || (in_comment && text->at[i] != '\n');
            if (in_comment)
                text->at[i] = ' ';
        }
    }
    for (size_t i = 0, j = 0; i < shown.length || j < again.length; i++, j++) {
        i += strspn(text_end(&shown) + i, " ");
        j += strspn(text_end(&again) + j, " ");
        if (text_end(&shown)[i] != text_end(&again)[j])
            fail_msg("differs:\n%s\n%s", text_end(&shown) + i, text_end(&again) + j);
    }
}

static void test_a_metric_has_no_more_labels_than_a_sample_can_set(void **unused)
{
    SCOPED(text_free) struct text text = {0}, report = {0};
    SCOPED(conf_free_at) struct conf *conf = NULL;
    struct conf *none = NULL;

    text_add_string(&text, "metric \"a\" { plugin = \"gauge\" labels = { l0");
    for (int i = 1; i < 64; i++)
        text_printf(&text, ", l%d", i);
    text_add_string(&text, " } }");
    read_fine(FOLDERS, text_end(&text), &conf);
    text.length -= 4;
    text_add_string(&text, ", l64 } }");
    write_conf(FOLDERS, text_end(&text));
    assert_false(conf_read("C", NULL, NULL, &none, &report));
    assert_string_equal(text_end(&report), "C:2: 65 labels are more than the 64 that a metric can "
                                           "have (remove some)\n");
}

static void test_a_missing_file_is_an_error(void **unused)
{
    SCOPED(text_free) struct text report = {0};
    struct conf *conf = NULL;

    assert_false(conf_read("gone", NULL, NULL, &conf, &report));
    assert_string_equal(text_end(&report), "gone:1: cannot open \"gone\": No such file or "
                                           "directory (is its name right?)\n");
    assert_null(conf);
}

static void test_names_are_made_legal(void **unused)
{
    static const struct {
        const char *key, *name, *why;
    } names[] = {
        {"A_Pressed9", "A_Pressed9", "legal as it is"},
        {"a.b c:d", "a_b_c_d", "a colon is for recording rules"},
        {"9", "_9", "a leading digit"},
        {"é", "__", "a byte each"},
        {"-", "_", "never empty"},
    };
    char name[64];

    assert_false(conf_legal_name("", 0, name));
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        assert_true(conf_legal_name(names[i].key, strlen(names[i].key), name));
        if (strcmp(name, names[i].name) != 0)
            fail_msg("%s: %s becomes %s", names[i].why, names[i].key, name);
    }
}

static void test_the_shipped_conf_is_right(void **unused)
{
    SCOPED(conf_free_at) struct conf *conf = NULL;
    SCOPED(text_free) struct text shipped = {0};
    SCOPED(fclose_at) FILE *file = fopen(SHIPPED, "r");
    char part[4096];
    size_t got;

    assert_non_null(file);
    while ((got = fread(part, 1, sizeof part, file)) > 0)
        text_add(&shipped, part, got);
    read_fine("plugin_path = { \"" PLUGINS "\" }\n", text_end(&shipped), &conf);
    assert_true(conf->metric_count >= 3);
    assert_string_equal(conf->metrics[0].key, "CPU_Utilization");
}

static int make_folder(void **state)
{
    static char folder[] = "/tmp/rasad-test-XXXXXX";

    *state = mkdtemp(folder);
    return *state == NULL || chdir(folder) != 0;
}

static int remove_folder(void **state)
{
    return unlink("C") != 0 || chdir("/") != 0 || rmdir(*state) != 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_error_is_told_with_its_line),
        cmocka_unit_test(test_without_a_word_the_defaults_hold),
        cmocka_unit_test(test_what_is_written_holds),
        cmocka_unit_test(test_a_plugin_gets_its_presets_and_values),
        cmocka_unit_test(test_the_effective_conf_is_a_conf_and_means_the_same),
        cmocka_unit_test(test_a_metric_has_no_more_labels_than_a_sample_can_set),
        cmocka_unit_test(test_a_missing_file_is_an_error),
        cmocka_unit_test(test_names_are_made_legal),
        cmocka_unit_test(test_the_shipped_conf_is_right),
    };

    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
