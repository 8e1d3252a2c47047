/* SPDX-License-Identifier: Apache-2.0 */
/*
 * librasad-client: what it lets in, and what it does without memory or with a disk that fails. The
 * linker sends allocations and syncs here (--wrap), where they fail on demand.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <ftw.h>
#include <pthread.h>
#include <rasad/client.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define NOBODY "127.0.0.1:1"
#define PUSH(client, text, error) rasad_client_push(client, text, strlen(text), error)

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *at, size_t size);
void *__real_reallocarray(void *at, size_t count, size_t size);
char *__real_strdup(const char *string);
int __real_fdatasync(int fd);

void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *at, size_t size);
void *__wrap_reallocarray(void *at, size_t count, size_t size);
char *__wrap_strdup(const char *string);
int __wrap_fdatasync(int fd);

/* ---- Failing ---- */

static _Atomic long left = -1; /* allocations that succeed before one fails; below 0: all do */
static _Atomic bool stays;     /* all that come after fail, too */
static _Atomic bool failed;
static _Atomic bool bad_disk;

static bool fails(void)
{
    long now = atomic_load(&left);

    while (now > 0) {
        if (atomic_compare_exchange_weak(&left, &now, now - 1))
            return false;
    }
    if (now < 0 || (!stays && !atomic_compare_exchange_strong(&left, &now, -1)))
        return false;
    failed = true;
    return true;
}

void *__wrap_malloc(size_t size)
{
    return fails() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t count, size_t size)
{
    return fails() ? NULL : __real_calloc(count, size);
}

void *__wrap_realloc(void *at, size_t size)
{
    return fails() ? NULL : __real_realloc(at, size);
}

void *__wrap_reallocarray(void *at, size_t count, size_t size)
{
    return fails() ? NULL : __real_reallocarray(at, count, size);
}

char *__wrap_strdup(const char *string)
{
    return fails() ? NULL : __real_strdup(string);
}

int __wrap_fdatasync(int fd)
{
    errno = EIO;
    return bad_disk ? -1 : __real_fdatasync(fd);
}

/* ---- The scene ---- */

struct scene {
    char folder[64];
    const char *servers[1];
    struct rasad_client_options options;
    struct rasad_client *client;
};

static struct scene begin(void)
{
    struct scene scene = {.folder = "/tmp/rasad-library-XXXXXX"};

    assert_non_null(mkdtemp(scene.folder));
    return scene;
}

/* Options that will do. They point into the scene. */
static void fill(struct scene *scene)
{
    scene->servers[0] = NOBODY;
    scene->options = (struct rasad_client_options){.size = sizeof scene->options,
                                                   .servers = scene->servers,
                                                   .server_count = 1,
                                                   .name = "web-1",
                                                   .spool = scene->folder};
}

static void open_it(struct scene *scene)
{
    struct rasad_client_error error;

    if (rasad_client_open(&scene->options, &scene->client, &error) != RASAD_CLIENT_OK)
        fail_msg("%s", error.text);
}

static int remove_one(const char *path, const struct stat *file, int kind, struct FTW *where)
{
    return remove(path);
}

static void end(struct scene *scene)
{
    rasad_client_close(scene->client);
    (void)nftw(scene->folder, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

/* ---- What it lets in ---- */

static void one_object_is_a_message_and_nothing_else(void **state)
{
    static const struct {
        const char *text;
        const char *why; /* NULL: taken */
    } rows[] = {
        {"{\"a\":1}", NULL},
        {"{}", NULL},                    /* a message without samples */
        {" \r\n\t{\"a\":\n1} \n", NULL}, /* blanks are JSON's, too */
        {"{\"a\":{\"@b\":1}}", NULL},    /* only its own members are the protocol's */
        {"{\"a@\":1}", NULL},
        {"", "isn't one JSON object"},
        {" ", "isn't one JSON object"},
        {"1", "isn't one JSON object"},
        {"[{\"a\":1}]", "isn't one JSON object"},
        {"\"a\"", "isn't one JSON object"},
        {"{\"a\":1}{\"a\":1}", "isn't one JSON object"}, /* they would be two for the server */
        {"1 {\"a\":1}", "isn't one JSON object"},        /* it would skip the number */
        {"{\"a\":1},", "isn't one JSON object"},
        {"{\"a\":1} x", "isn't one JSON object"},
        {"{\"a\":1", "ends within"},
        {"{\"a\":tru}", "isn't one JSON object"},
        {"{\"a\":\"\xff\"}", "UTF-8"},
        {"{\"@skip\":{\"to\":9}}", "'@'"},
        {"{\"a\":1,\"@b\":1}", "'@'"},
        {"{\"\\u0040skip\":1}", "'@'"}, /* the same, escaped */
        {"!DISCONNECT", "isn't one JSON object"},
        {"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[1", "isn't one JSON object"}, /* too deep */
    };
    struct scene scene = begin();
    uint64_t taken = 0;

    fill(&scene);
    open_it(&scene);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct rasad_client_error error = {"?"};
        int result = PUSH(scene.client, rows[i].text, &error);

        if (result != (rows[i].why == NULL ? RASAD_CLIENT_OK : RASAD_CLIENT_REFUSED) ||
            strstr(error.text, rows[i].why == NULL ? "?" : rows[i].why) == NULL)
            fail_msg("%s: result %d: %s", rows[i].text, result, error.text);
        taken += rows[i].why == NULL;
        assert_int_equal(rasad_client_taken(scene.client), taken);
    }
    assert_int_equal(rasad_client_push(scene.client, NULL, 0, NULL), RASAD_CLIENT_REFUSED);
    end(&scene);
}

static void a_group_with_a_wrong_message_is_refused_whole(void **state)
{
    const struct rasad_client_message group[] = {{"{\"a\":1}", 7}, {"{\"a\":1", 6}, {"{}", 2}};
    struct rasad_client_error error;
    struct scene scene = begin();
    size_t pushed = 77;

    fill(&scene);
    open_it(&scene);
    assert_int_equal(rasad_client_push_many(scene.client, group, 3, -1, &pushed, &error),
                     RASAD_CLIENT_REFUSED);
    assert_string_equal(error.text, "message 2 of 3: the message ends within its object");
    assert_int_equal(pushed, 0);
    assert_int_equal(rasad_client_taken(scene.client), 0);
    assert_int_equal(rasad_client_push_many(scene.client, group, 1, -1, &pushed, NULL), 0);
    assert_int_equal(rasad_client_push_many(scene.client, NULL, 0, -1, NULL, NULL), 0);
    assert_int_equal(pushed, 1);
    end(&scene);
}

static void a_message_that_no_server_takes_is_too_long(void **state)
{
    static char text[(1 << 20) + 16];
    struct rasad_client_error error;
    struct scene scene = begin();

    fill(&scene);
    open_it(&scene);
    memset(text, ' ', sizeof text);
    memcpy(text, "{\"a\":", 5);
    text[(1 << 20) - 2] = '1';
    text[(1 << 20) - 1] = '}';
    assert_int_equal(rasad_client_push(scene.client, text, 1 << 20, NULL), RASAD_CLIENT_OK);
    text[(1 << 20) - 1] = ' ';
    text[1 << 20] = '}';
    assert_int_equal(rasad_client_push(scene.client, text, (1 << 20) + 1, &error),
                     RASAD_CLIENT_REFUSED);
    assert_non_null(strstr(error.text, "too long"));
    rasad_client_close(scene.client);
    scene.options.spool_max = 64 << 10; /* a quarter of this, at most */
    scene.options.name = "web-2";
    open_it(&scene);
    text[16 << 10] = '}';
    assert_int_equal(rasad_client_push(scene.client, text, (16 << 10) + 1, NULL),
                     RASAD_CLIENT_REFUSED);
    end(&scene);
}

static void wrong_options_are_refused(void **state)
{
    struct scene scene = begin();
    const char *const nothing[] = {NULL}, *const no_port[] = {"host:port"};

#define TRY(member, wrong, sentence)                                                               \
    do {                                                                                           \
        struct rasad_client_error error;                                                           \
                                                                                                   \
        fill(&scene);                                                                              \
        scene.options.member = (wrong);                                                            \
        assert_int_equal(rasad_client_open(&scene.options, &scene.client, &error),                 \
                         RASAD_CLIENT_REFUSED);                                                    \
        if (strstr(error.text, sentence) == NULL)                                                  \
            fail_msg("\"%s\" for " #member " = " #wrong, error.text);                              \
        assert_null(scene.client);                                                                 \
    } while (0)

    TRY(size, 0, "set size");
    TRY(size, 8, "set size");
    TRY(server_count, 0, "no server");
    TRY(servers, NULL, "no server");
    TRY(servers, nothing, "server 0 is NULL");
    TRY(servers, no_port, "port");
    TRY(name, "", "a name of 0 bytes");
    TRY(name, "a\nb", "control character");
    TRY(spool_max, 100, "a spool of 100 bytes");
    TRY(sync, 3, "unknown sync 3");
    TRY(when_full, -1, "unknown when_full -1");
    end(&scene);
}

static void options_may_grow(void **state)
{
    struct {
        struct rasad_client_options known;
        uint64_t newer;
    } options;
    struct {
        struct rasad_client_counts known;
        uint64_t newer;
    } counts;
    struct rasad_client_error error;
    struct scene scene = begin();

    fill(&scene);
    memset(&options, 0, sizeof options);
    options.known = scene.options;
    options.known.size = sizeof options;
    options.newer = 1;
    assert_int_equal(rasad_client_open(&options.known, &scene.client, &error),
                     RASAD_CLIENT_REFUSED);
    assert_non_null(strstr(error.text, "newer than this library"));
    options.newer = 0; /* what is zero asks for nothing */
    assert_int_equal(rasad_client_open(&options.known, &scene.client, &error), RASAD_CLIENT_OK);
    counts.known.size = sizeof counts;
    counts.newer = 9;
    assert_int_equal(PUSH(scene.client, "{}", &error), RASAD_CLIENT_OK);
    rasad_client_counts(scene.client, &counts.known);
    assert_int_equal(counts.known.size, sizeof counts);
    assert_int_equal(counts.known.pending, 1);
    assert_int_equal(counts.newer, 0);
    end(&scene);
}

/* ---- What fails ---- */

/* Opens, pushes a group and closes; every result must be one that the header allows. How many
 * messages were taken is in `*taken`, as far as that was told. */
static int live(struct scene *scene, uint64_t *taken)
{
    const struct rasad_client_message group[] = {{"{\"a\":1}", 7}, {"{\"a\":2}", 7}, {"{}", 2}};
    struct rasad_client_error error = {""};
    size_t pushed = 0;
    int result = rasad_client_open(&scene->options, &scene->client, &error);

    if (result == RASAD_CLIENT_OK) {
        *taken = rasad_client_taken(scene->client);
        result = rasad_client_push_many(scene->client, group, 3, 0, &pushed, &error);
        *taken += pushed;
        assert_int_equal(rasad_client_taken(scene->client), *taken);
    }
    if (result != RASAD_CLIENT_OK) {
        assert_int_equal(result, RASAD_CLIENT_FAILED);
        assert_true(error.text[0] != '\0');
    }
    rasad_client_close(scene->client);
    scene->client = NULL;
    return result;
}

static void each_allocation_fails_once(bool stays_so)
{
    struct scene scene = begin();
    uint64_t taken = 0;
    long n = 0;

    fill(&scene);
    for (failed = true; failed; n++) {
        uint64_t now = taken;

        failed = false;
        stays = stays_so;
        left = n;
        (void)live(&scene, &now);
        left = -1;
        /* What was taken is there, and nothing else. */
        taken = now;
        open_it(&scene);
        assert_int_equal(rasad_client_taken(scene.client), taken);
        assert_int_equal(PUSH(scene.client, "{\"a\":3}", NULL), RASAD_CLIENT_OK);
        taken++;
        rasad_client_close(scene.client);
        scene.client = NULL;
    }
    assert_in_range(n, 10, 10000);
    end(&scene);
}

static void an_allocation_that_fails_is_an_error(void **state)
{
    each_allocation_fails_once(false);
}

static void no_memory_at_all_is_an_error(void **state)
{
    each_allocation_fails_once(true);
}

static void what_a_bad_disk_does_not_take_can_be_pushed_again(void **state)
{
    const struct rasad_client_message group[] = {{"{\"a\":1}", 7}, {"{\"a\":2}", 7}};
    struct rasad_client_counts counts = {.size = sizeof counts};
    struct rasad_client_error error;
    struct scene scene = begin();
    size_t pushed = 77;

    fill(&scene);
    open_it(&scene);
    bad_disk = true;
    assert_int_equal(rasad_client_push_many(scene.client, group, 2, 10, &pushed, &error),
                     RASAD_CLIENT_FAILED);
    assert_non_null(strstr(error.text, strerror(EIO)));
    assert_int_equal(pushed, 0);
    bad_disk = false;
    assert_int_equal(rasad_client_taken(scene.client), 0);
    assert_int_equal(rasad_client_push_many(scene.client, group, 2, -1, &pushed, &error), 0);
    assert_int_equal(pushed, 2);
    assert_int_equal(rasad_client_taken(scene.client), 2);
    rasad_client_counts(scene.client, &counts);
    assert_int_equal(counts.pending, 2);
    end(&scene);
}

/* ---- The process around it ---- */

static void signals_and_masks_are_left_alone(void **state)
{
    sigset_t before, after;
    struct sigaction pipe_action;
    struct scene scene = begin();

    fill(&scene);
    assert_int_equal(pthread_sigmask(SIG_SETMASK, NULL, &before), 0);
    open_it(&scene);
    assert_int_equal(PUSH(scene.client, "{}", NULL), RASAD_CLIENT_OK);
    assert_int_equal(rasad_client_flush(scene.client, 20, NULL), RASAD_CLIENT_LATE);
    assert_int_equal(pthread_sigmask(SIG_SETMASK, NULL, &after), 0);
    for (int i = 1; i < NSIG; i++)
        assert_int_equal(sigismember(&before, i), sigismember(&after, i));
    assert_int_equal(sigaction(SIGPIPE, NULL, &pipe_action), 0);
    assert_true(pipe_action.sa_handler == SIG_DFL);
    end(&scene);
}

static _Atomic int lines;

static void count_lines(void *context, int level, const char *line)
{
    assert_ptr_equal(context, &lines);
    assert_in_range(level, RASAD_CLIENT_INFO, RASAD_CLIENT_ERROR);
    assert_null(strchr(line, '\n'));
    lines++;
}

static void what_it_says_goes_to_the_callback(void **state)
{
    struct scene scene = begin();

    fill(&scene);
    scene.options.log = count_lines;
    scene.options.log_context = &lines;
    open_it(&scene);
    while (lines == 0) /* nobody is there, and it says so */
        (void)usleep(1000);
    end(&scene);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_object_is_a_message_and_nothing_else),
        cmocka_unit_test(a_group_with_a_wrong_message_is_refused_whole),
        cmocka_unit_test(a_message_that_no_server_takes_is_too_long),
        cmocka_unit_test(wrong_options_are_refused),
        cmocka_unit_test(options_may_grow),
        cmocka_unit_test(an_allocation_that_fails_is_an_error),
        cmocka_unit_test(no_memory_at_all_is_an_error),
        cmocka_unit_test(what_a_bad_disk_does_not_take_can_be_pushed_again),
        cmocka_unit_test(signals_and_masks_are_left_alone),
        cmocka_unit_test(what_it_says_goes_to_the_callback),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
