/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The client against a server that the test plays itself, line by line: what it says, what it
 * applies and when it cuts the connection is up to each test, while the client's own thread runs.
 */
#include <arpa/inet.h>
#include <fcntl.h>
#include <ftw.h>
#include <inttypes.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "backoff.h"
#include "base/clock.h"
#include "base/crc32c.h"
#include "base/scoped.h"
#include "base/text.h"
#include "client.h"
#include "reply.h"

#define PATIENCE_MS 10000

/* ---- The server's side ---- */

/* A connection that came in, and what was read of it. */
struct peer {
    int fd;
    struct text in;
    size_t used; /* bytes of `in` that were handed out */
};

/* What a hello said. */
struct hello {
    char agent[64];
    char stream[40];
    uint64_t first;
    uint32_t chain;
};

/* Listens on the loopback; port 0 is a free one. Returns the descriptor. */
static int serve(uint16_t *port)
{
    static const int on = 1;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(*port)};
    socklen_t size = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_true(fd >= 0);
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on), 0);
    assert_int_equal(bind(fd, (void *)&address, sizeof address), 0);
    assert_int_equal(listen(fd, 16), 0);
    assert_int_equal(getsockname(fd, (void *)&address, &size), 0);
    *port = ntohs(address.sin_port);
    return fd;
}

static bool readable_within(int fd, int ms)
{
    struct pollfd event = {.fd = fd, .events = POLLIN};

    return poll(&event, 1, ms) == 1;
}

static struct peer take_peer(int listener)
{
    struct peer peer = {0};

    assert_true(readable_within(listener, PATIENCE_MS));
    peer.fd = accept(listener, NULL, NULL);
    assert_true(peer.fd >= 0);
    return peer;
}

static void drop_peer(struct peer *peer)
{
    (void)close(peer->fd);
    text_free(&peer->in);
}

/* The next line without its line feed, or NULL at the end of the connection. */
static const char *take_line(struct peer *peer)
{
    for (;;) {
        char *start = peer->in.at + peer->used;
        char *end = peer->in.at != NULL ? memchr(start, '\n', peer->in.length - peer->used) : NULL;
        ssize_t got;

        if (end != NULL) {
            *end = '\0';
            peer->used = (size_t)(end + 1 - peer->in.at);
            return start;
        }
        assert_true(readable_within(peer->fd, PATIENCE_MS));
        assert_true(text_reserve(&peer->in, 65536));
        got = recv(peer->fd, peer->in.at + peer->in.length, 65536, 0);
        if (got <= 0)
            return NULL;
        peer->in.length += (size_t)got;
    }
}

static void expect_line(struct peer *peer, const char *wanted)
{
    const char *line = take_line(peer);

    assert_non_null(line);
    assert_string_equal(line, wanted);
}

static void expect_in_any_order(struct peer *peer, const char *one, const char *other)
{
    const char *line = take_line(peer);

    assert_non_null(line);
    if (strcmp(line, one) == 0) {
        expect_line(peer, other);
        return;
    }
    assert_string_equal(line, other);
    expect_line(peer, one);
}

__attribute__((format(printf, 2, 3))) static void say(const struct peer *peer, const char *format,
                                                      ...)
{
    char line[512];
    va_list arguments;
    int length;

    va_start(arguments, format);
    length = vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    assert_int_equal(send(peer->fd, line, (size_t)length, MSG_NOSIGNAL), length);
}

static struct hello take_hello(struct peer *peer)
{
    struct hello hello;
    const char *line = take_line(peer);

    assert_non_null(line);
    assert_int_equal(sscanf(line,
                            "{\"@hello\":{\"agent\":\"%63[^\"]\",\"stream\":\"%39[0-9a-f]\","
                            "\"instance\":\"%*16[0-9a-f]\",\"first\":%" SCNu64
                            ",\"chain\":\"%8" SCNx32 "\"}}",
                            hello.agent, hello.stream, &hello.first, &hello.chain),
                     4);
    assert_int_equal(strlen(hello.stream), 32);
    return hello;
}

static void welcome(const struct peer *peer, uint64_t applied, uint64_t committed, uint32_t chain)
{
    say(peer,
        "{\"@welcome\":{\"applied\":%" PRIu64 ",\"committed\":%" PRIu64 ",\"chain\":\"%08" PRIx32
        "\"}}\n",
        applied, committed, chain);
}

/* Accepts, hears hello and answers as a server without memory does. */
static struct peer meet(int listener, struct hello *hello)
{
    struct peer peer = take_peer(listener);

    *hello = take_hello(&peer);
    welcome(&peer, hello->first - 1, hello->first - 1, hello->chain);
    return peer;
}

/* ---- The client's side ---- */

/* A client, and its log in memory. Stays where it is. */
struct scene {
    struct log log;
    struct client *client;
};

/* Opens a client of these servers: "HOST:PORT". */
static void begin_at(struct scene *scene, const char *const *servers, size_t count,
                     size_t max_bytes, bool drop_oldest)
{
    struct client_options options = {.name = "web-1",
                                     .servers = servers,
                                     .server_count = count,
                                     .max_bytes = max_bytes,
                                     .drop_oldest = drop_oldest,
                                     .log = &scene->log};
    struct rasad_error error;

    scene->log = (struct log){.fd = memfd_create("log", MFD_CLOEXEC)};
    assert_true(client_open(&options, &scene->client, &error));
}

static void begin(struct scene *scene, uint16_t port)
{
    char server[32];

    (void)snprintf(server, sizeof server, "127.0.0.1:%u", port);
    begin_at(scene, (const char *const[]){server}, 1, 0, false);
}

static void end(struct scene *scene)
{
    client_close(scene->client);
    (void)close(scene->log.fd);
}

static void push(struct scene *scene, const char *message)
{
    struct rasad_error error;

    assert_true(client_push(scene->client, message, strlen(message), &error));
}

static void push_numbers(struct scene *scene, int from, int to)
{
    for (int i = from; i <= to; i++) {
        char message[32];

        (void)snprintf(message, sizeof message, "{\"n\":%d}", i);
        push(scene, message);
    }
}

static void expect_numbers(struct peer *peer, int from, int to)
{
    for (int i = from; i <= to; i++) {
        char message[32];

        (void)snprintf(message, sizeof message, "{\"n\":%d}", i);
        expect_line(peer, message);
    }
}

/* The chain over {"n":1} to {"n":last}. */
static uint32_t chain_of_numbers(int last)
{
    uint32_t chain = 0;

    for (int i = 1; i <= last; i++) {
        char message[32];
        int length = snprintf(message, sizeof message, "{\"n\":%d}", i);

        chain = crc32c(chain, message, (size_t)length);
    }
    return chain;
}

/* Waits until no more than so many messages are pending. */
static void wait_pending(struct scene *scene, uint64_t most)
{
    while (client_counts(scene->client).pending > most) {
        assert_true(readable_within(client_fd(scene->client), PATIENCE_MS));
        client_clear_fd(scene->client);
    }
}

static bool flush(struct scene *scene)
{
    return client_flush(scene->client, PATIENCE_MS * NS_PER_MS);
}

/* A flush that was woken: at the end of its time it would look again by itself. */
static bool flush_by_news(struct scene *scene)
{
    int64_t since_ns = clock_steady_ns();

    return flush(scene) && clock_steady_ns() - since_ns < PATIENCE_MS / 2 * NS_PER_MS;
}

/* The log so far; to be freed. */
static char *read_log(const struct scene *scene)
{
    off_t size = lseek(scene->log.fd, 0, SEEK_END);
    char *text = calloc(1, (size_t)size + 1);

    assert_non_null(text);
    assert_int_equal(pread(scene->log.fd, text, (size_t)size, 0), size);
    return text;
}

static void expect_logged(const struct scene *scene, const char *wanted)
{
    SCOPED(free_at) char *log = read_log(scene);

    if (strstr(log, wanted) == NULL)
        fail_msg("not logged: %s\nbut:\n%s", wanted, log);
}

static void expect_unlogged(const struct scene *scene, const char *unwanted)
{
    SCOPED(free_at) char *log = read_log(scene);

    if (strstr(log, unwanted) != NULL)
        fail_msg("logged: %s\nin:\n%s", unwanted, log);
}

/* ---- The keeper's pace ---- */

/* What becomes of the next spool_take(), which the linker sends here (--wrap). */
static atomic_bool holds;  /* it returns late: see below */
static atomic_bool held;   /* it waits for the end of that */
static atomic_bool breaks; /* it fails */
static atomic_bool fills;  /* it finds no room */

enum spool_result __real_spool_take(struct spool *spool, size_t server, struct messages *messages,
                                    uint64_t *lost, struct rasad_error *error);
enum spool_result __wrap_spool_take(struct spool *spool, size_t server, struct messages *messages,
                                    uint64_t *lost, struct rasad_error *error);

static void nap(int ms)
{
    (void)poll(NULL, 0, ms);
}

enum spool_result __wrap_spool_take(struct spool *spool, size_t server, struct messages *messages,
                                    uint64_t *lost, struct rasad_error *error)
{
    enum spool_result result;

    if (breaks) {
        (void)rasad_fail(error, "the test breaks it");
        return SPOOL_BROKEN;
    }
    result = atomic_exchange(&fills, false)
                 ? SPOOL_FULL
                 : __real_spool_take(spool, server, messages, lost, error);
    if (holds) {
        held = true;
        while (holds)
            nap(1);
        nap(200);
    }
    return result;
}

/* ---- Stories ---- */

static void messages_follow_the_welcome_and_acks_free_them(void **state)
{
    uint16_t port = 0;
    SCOPED(close_at) int listener = serve(&port);
    struct scene scene;
    struct hello hello;
    struct peer peer;

    begin(&scene, port);
    push_numbers(&scene, 1, 3);
    peer = take_peer(listener);
    hello = take_hello(&peer);
    assert_string_equal(hello.agent, "web-1");
    assert_int_equal(hello.first, 1);
    assert_int_equal(hello.chain, 0);
    assert_false(readable_within(peer.fd, 50)); /* nothing before the welcome */
    welcome(&peer, 0, 0, 0);
    expect_numbers(&peer, 1, 3);
    assert_int_equal(client_counts(scene.client).pending, 3);
    say(&peer, "{\"@ack\":2}\n");
    wait_pending(&scene, 1);
    assert_int_equal(client_counts(scene.client).acked, 2);
    say(&peer, "{\"@ack\":3}");
    assert_true(flush(&scene));
    expect_logged(&scene, "info connected server=127.0.0.1:");
    end(&scene);
    drop_peer(&peer);
}

/* A link may bring a message away, and hear its ack, before the keeper has told that it is kept. */
static void an_ack_that_is_faster_than_the_keeper_ends_a_flush(void **state)
{
    uint16_t port = 0;
    SCOPED(close_at) int listener = serve(&port);
    struct scene scene;
    struct hello hello;
    struct peer peer;

    begin(&scene, port);
    push_numbers(&scene, 1, 1);
    peer = meet(listener, &hello);
    expect_numbers(&peer, 1, 1);
    say(&peer, "{\"@ack\":1}\n");
    assert_true(flush(&scene));
    held = false;
    holds = true;
    push_numbers(&scene, 2, 2);
    while (!held)
        nap(1);
    client_ping(scene.client, 1); /* wakes the link, which the keeper does not */
    expect_in_any_order(&peer, "{\"@ping\":1}", "{\"n\":2}");
    say(&peer, "{\"@ack\":2}\n");
    while (client_counts(scene.client).acked < 2)
        nap(1);
    nap(50); /* all who are woken by that are */
    assert_int_equal(client_counts(scene.client).pending, 1);
    holds = false;
    assert_true(flush_by_news(&scene));
    end(&scene);
    drop_peer(&peer);
}

static void *flush_in_thread(void *scene)
{
    nap(100); /* until something is pending */
    return flush_by_news(scene) ? scene : NULL;
}

static void what_is_taken_back_ends_a_flush(void **state)
{
    uint16_t port = 0;
    SCOPED(close_at) int listener = serve(&port);
    struct messages messages = {0};
    struct rasad_error error;
    struct scene scene;
    struct hello hello;
    struct peer peer;
    pthread_t thread;
    void *flushed;

    begin(&scene, port);
    peer = meet(listener, &hello);
    breaks = true;
    messages_add(&messages, message_new("{}", 2));
    assert_int_equal(pthread_create(&thread, NULL, flush_in_thread, &scene), 0);
    assert_int_equal(client_put(scene.client, &messages, 300 * NS_PER_MS, &error), SPOOL_BROKEN);
    breaks = false;
    assert_int_equal(pthread_join(thread, &flushed), 0);
    assert_non_null(flushed);
    messages_free(&messages);
    end(&scene);
    drop_peer(&peer);
}

/* Room that comes along with the end is still used. */
static void an_ack_just_before_the_end_makes_room(void **state)
{
    uint16_t port = 0;
    SCOPED(close_at) int listener = serve(&port);
    SCOPED(free_at) char *log = NULL;
    struct scene scene;
    struct hello hello;
    struct peer peer;

    begin(&scene, port);
    push_numbers(&scene, 1, 1);
    peer = meet(listener, &hello);
    expect_numbers(&peer, 1, 1);
    held = false;
    holds = fills = true;
    push_numbers(&scene, 2, 2);
    while (!held)
        nap(1);
    say(&peer, "{\"@ack\":1}\n");
    while (client_counts(scene.client).acked < 1)
        nap(1);
    nap(50); /* until the keeper is told */
    holds = false;
    client_close(scene.client);
    log = read_log(&scene);
    assert_null(strstr(log, "messages are lost"));
    (void)close(scene.log.fd);
    drop_peer(&peer);
}

static void after_a_break_it_goes_on_behind_what_was_applied(void **state)
{
    uint16_t port = 0;
    SCOPED(close_at) int listener = serve(&port);
    struct hello hello, again;
    struct scene scene;
    struct peer peer;

    begin(&scene, port);
    push_numbers(&scene, 1, 5);
    peer = meet(listener, &hello);
    expect_numbers(&peer, 1, 5);
    drop_peer(&peer);
    /* Of the five, three were applied and one is on disk. */
    peer = take_peer(listener);
    again = take_hello(&peer);
    assert_string_equal(again.stream, hello.stream);
    assert_int_equal(again.first, 1);
    welcome(&peer, 3, 1, chain_of_numbers(3));
    expect_numbers(&peer, 4, 5);
    wait_pending(&scene, 4);
    drop_peer(&peer);
    /* The first one is still kept, should the server come back older. */
    peer = take_peer(listener);
    again = take_hello(&peer);
    assert_int_equal(again.first, 1);
    assert_int_equal(again.chain, 0);
    welcome(&peer, 5, 5, chain_of_numbers(5));
    assert_true(flush(&scene));
    push_numbers(&scene, 6, 6);
    expect_numbers(&peer, 6, 6);
    expect_logged(&scene, "info connection lost server=127.0.0.1:");
    expect_logged(&scene, "info Trying to reconnect server=127.0.0.1:");
    expect_logged(&scene, "reason=\"the server closed the connection\"");
    end(&scene);
    drop_peer(&peer);
}

/* Asks for a hello again, as another process of the server on the same connection does; what comes
 * before it is for the one that is gone. */
static struct hello ask_again(struct peer *peer, const char *digits)
{
    struct hello hello;
    char ask[64];
    const char *line, *again;

    (void)snprintf(ask, sizeof ask, "{\"@again\":\"%s\"}\n", digits);
    assert_int_equal(send(peer->fd, ask, strlen(ask), 0), strlen(ask));
    do
        line = take_line(peer);
    while (strncmp(line, "{\"@hello\"", 9) != 0);
    again = strstr(line, "\"again\":\"");
    assert_non_null(again);
    assert_int_equal(strncmp(again + 9, digits, 32), 0);
    assert_int_equal(sscanf(strstr(line, "\"stream\""), "\"stream\":\"%32[0-9a-f]\"", hello.stream),
                     1);
    assert_int_equal(sscanf(strstr(line, "\"first\""), "\"first\":%" SCNu64 ",\"chain\":\"%x",
                            &hello.first, &hello.chain),
                     2);
    return hello;
}

static void asked_again_it_goes_on_as_after_a_break(void **state)
{
    uint16_t port = 0;
    SCOPED(close_at) int listener = serve(&port);
    struct hello hello, again;
    struct scene scene;
    struct peer peer;

    begin(&scene, port);
    push_numbers(&scene, 1, 5);
    peer = meet(listener, &hello);
    expect_numbers(&peer, 1, 5);
    /* Of the five, three were applied and one is on disk. Before it has welcomed, it is killed
     * again. */
    again = ask_again(&peer, "00112233445566778899aabbccddeeff");
    assert_string_equal(again.stream, hello.stream);
    again = ask_again(&peer, "ffeeddccbbaa99887766554433221100");
    assert_string_equal(again.stream, hello.stream);
    assert_int_equal(again.first, 1);
    push_numbers(&scene, 6, 6);
    welcome(&peer, 3, 1, chain_of_numbers(3));
    expect_numbers(&peer, 4, 6);
    wait_pending(&scene, 5);
    expect_logged(&scene, "info the server has started anew, and the connection goes on");
    again = ask_again(&peer, "00112233445566778899aabbccddeeff");
    welcome(&peer, 6, 6, chain_of_numbers(6));
    assert_true(flush(&scene));
    expect_unlogged(&scene, "connection lost");
    expect_unlogged(&scene, "Trying to reconnect");
    end(&scene);
    drop_peer(&peer);
}

/* Reads up to `bytes` of what comes and applies the whole lines, each of which must be the next
 * number; what is cut is lost. */
static int apply_some(struct peer *peer, int applied, size_t bytes, int last)
{
    while (applied < last) {
        char *start = peer->in.at + peer->used;
        char *line_end =
            peer->in.at != NULL ? memchr(start, '\n', peer->in.length - peer->used) : NULL;
        char wanted[32];
        ssize_t got;

        if (line_end != NULL) {
            *line_end = '\0';
            (void)snprintf(wanted, sizeof wanted, "{\"n\":%d}", ++applied);
            assert_string_equal(start, wanted);
            peer->used = (size_t)(line_end + 1 - peer->in.at);
            continue;
        }
        if (peer->used >= bytes || peer->in.length >= bytes)
            return applied;
        assert_true(readable_within(peer->fd, PATIENCE_MS));
        assert_true(text_reserve(&peer->in, bytes));
        got = recv(peer->fd, peer->in.at + peer->in.length, bytes - peer->in.length, 0);
        assert_true(got > 0);
        peer->in.length += (size_t)got;
    }
    return applied;
}

static void connections_cut_anywhere_lose_and_double_nothing(void **state)
{
    enum { LAST = 2000 };
    uint16_t port = 0;
    SCOPED(close_at) int listener = serve(&port);
    struct scene scene;
    int applied = 0, committed = 0;

    begin(&scene, port);
    push_numbers(&scene, 1, LAST);
    srand(7);
    for (int cut = 0; applied < LAST; cut++) {
        struct peer peer = take_peer(listener);
        struct hello hello = take_hello(&peer);

        assert_int_equal(hello.first, 1);
        assert_int_equal(hello.chain, 0);
        /* On disk is sometimes all that is applied, and sometimes less. */
        if (rand() % 2 == 0)
            committed = applied;
        welcome(&peer, (uint64_t)applied, (uint64_t)committed, chain_of_numbers(applied));
        wait_pending(&scene, (uint64_t)(LAST - committed));
        applied = apply_some(&peer, applied, peer.used + 1 + (size_t)(rand() % 4000), LAST);
        if (applied < LAST) {
            drop_peer(&peer);
            continue;
        }
        assert_in_range(cut, 3, 1000);
        say(&peer, "{\"@ack\":%d}\n", LAST);
        assert_true(flush(&scene));
        drop_peer(&peer);
    }
    assert_int_equal(client_counts(scene.client).acked, LAST);
    end(&scene);
}

static void a_server_that_forgot_all_is_given_what_is_kept(void **state)
{
    uint16_t port = 0;
    SCOPED(close_at) int listener = serve(&port);
    struct hello hello, again;
    struct scene scene;
    struct peer peer;

    begin(&scene, port);
    push_numbers(&scene, 1, 3);
    peer = meet(listener, &hello);
    expect_numbers(&peer, 1, 3);
    say(&peer, "{\"@ack\":3}\n");
    assert_true(flush(&scene));
    drop_peer(&peer);
    push_numbers(&scene, 4, 5);
    /* A fresh server knows nothing of the stream, and is given what it had acknowledged, too. */
    peer = meet(listener, &again);
    assert_string_equal(again.stream, hello.stream);
    assert_int_equal(again.first, 1);
    assert_int_equal(again.chain, 0);
    expect_numbers(&peer, 1, 5);
    assert_int_equal(client_counts(scene.client).pending, 5);
    say(&peer, "{\"@ack\":5}\n");
    assert_true(flush(&scene));
    end(&scene);
    drop_peer(&peer);
}

static void a_foreign_stream_is_left_for_a_new_one(void **state)
{
    static const struct {
        uint64_t applied;
        uint32_t chain;
        const char *reason;
    } answers[] = {
        {1, 0x12345678, "another chain at message 1"}, /* somebody else's first message */
        {0, 0x12345678, "another chain at message 0"}, /* the empty chain is 0 */
        {9, 0, "has applied 9 messages of 3"},         /* more than there ever were */
    };

    for (size_t i = 0; i < sizeof answers / sizeof *answers; i++) {
        uint16_t port = 0;
        SCOPED(close_at) int listener = serve(&port);
        struct hello hello, again;
        struct scene scene;
        struct peer peer;

        begin(&scene, port);
        push_numbers(&scene, 1, 3);
        peer = meet(listener, &hello);
        expect_numbers(&peer, 1, 3);
        drop_peer(&peer);
        peer = take_peer(listener);
        (void)take_hello(&peer);
        welcome(&peer, answers[i].applied, 0, answers[i].chain);
        assert_null(take_line(&peer)); /* it hangs up */
        drop_peer(&peer);
        push_numbers(&scene, 4, 5); /* these were never sent; the others may have been applied */
        peer = meet(listener, &again);
        assert_string_not_equal(again.stream, hello.stream);
        assert_int_equal(again.first, 1);
        assert_int_equal(again.chain, 0);
        expect_line(&peer, "{\"@skip\":{\"to\":3,\"chain\":\"00000000\"}}");
        expect_numbers(&peer, 4, 5);
        say(&peer, "{\"@ack\":5}\n");
        assert_true(flush(&scene));
        assert_int_equal(client_counts(scene.client).dropped, 3);
        expect_logged(&scene, answers[i].reason);
        expect_logged(&scene, "a new stream begins with what was never sent");
        end(&scene);
        drop_peer(&peer);
    }
}

static void nonsense_ends_the_connection_and_the_next_one_is_fine(void **state)
{
    static const struct {
        const char *says;
        const char *reason;
    } rows[] = {
        {"HTTP/1.1 400 Bad Request\r\n\r\n", "no Rasad server"},
        {"{\"@ack\":7}\n", "acknowledges message 7, which it never got"},
        {"{\"@ack\":\"x\"}\n", "makes no sense"},
        {"{\"@welcome\":{\"applied\":0,\"committed\":0}}\n", "welcome unasked"},
        {"{\"@error\":{\"reason\":\"bad_hello\",\"text\":\"no\\u001b[2J\"}}\n",
         "the server refuses: bad_hello: no"},
    };

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        uint16_t port = 0;
        SCOPED(close_at) int listener = serve(&port);
        struct hello hello;
        struct scene scene;
        struct peer peer;

        begin(&scene, port);
        peer = meet(listener, &hello);
        say(&peer, "%s", rows[i].says);
        assert_null(take_line(&peer));
        drop_peer(&peer);
        peer = meet(listener, &hello);
        push_numbers(&scene, 1, 1);
        expect_numbers(&peer, 1, 1);
        say(&peer, "{\"@later\":[1,{\"a\":\"}\"}]}{\"@ack\":1}"); /* what is new is ignored */
        assert_true(flush(&scene));
        expect_logged(&scene, rows[i].reason);
        end(&scene);
        drop_peer(&peer);
    }
}

static void a_server_that_says_nothing_is_left(void **state)
{
    uint16_t port = 0;
    SCOPED(close_at) int listener = serve(&port);
    struct hello hello;
    struct scene scene;
    struct peer peer;

    begin(&scene, port);
    peer = take_peer(listener);
    hello = take_hello(&peer);
    assert_null(take_line(&peer)); /* after 5 s */
    drop_peer(&peer);
    peer = meet(listener, &hello);
    push_numbers(&scene, 1, 1);
    expect_numbers(&peer, 1, 1);
    expect_logged(&scene, "reason=\"no welcome within 5 s\"");
    end(&scene);
    drop_peer(&peer);
}

/* A message of 1000 bytes and a few. */
static void push_long(struct scene *scene, int i)
{
    char message[1100];

    (void)snprintf(message, sizeof message, "{\"n\":%d,\"pad\":\"%01000d\"}", i, 0);
    push(scene, message);
}

static void a_server_that_does_not_read_costs_bounded_memory(void **state)
{
    uint16_t port = 0;
    SCOPED(close_at) int listener = serve(&port);
    struct scene scene;
    struct hello hello;
    struct peer peer;
    uint64_t pending;
    int last = 0;

    begin(&scene, port);
    peer = meet(listener, &hello);
    /* Until there is no room, and none comes: the spool is full, and what waits for it. */
    while (last < 100000 &&
           (client_has_room(scene.client) || client_sync(scene.client, 500 * NS_PER_MS)))
        push_long(&scene, ++last);
    assert_in_range(last, 7000, 13000); /* 8 MiB and 4 MiB */
    pending = client_counts(scene.client).pending;
    assert_int_equal(pending, last);
    /* Once it reads, all of it is there. */
    for (int i = 1; i <= last; i++) {
        const char *line = take_line(&peer);
        char wanted[32];
        int length = snprintf(wanted, sizeof wanted, "{\"n\":%d,", i);

        assert_non_null(line);
        assert_memory_equal(line, wanted, length);
        if (i % 1000 == 0)
            say(&peer, "{\"@ack\":%d}\n", i);
    }
    say(&peer, "{\"@ack\":%d}\n", last);
    assert_true(flush(&scene));
    assert_int_equal(client_counts(scene.client).dropped, 0);
    end(&scene);
    drop_peer(&peer);
}

static void a_full_spool_drops_its_oldest_and_says_how_many(void **state)
{
    enum { LAST = 300 };
    uint16_t port = 0;
    SCOPED(close_at) int listener = serve(&port);
    struct client_counts counts;
    char server[32], skip[64];
    struct scene scene;
    struct hello hello;
    struct peer peer;

    (void)snprintf(server, sizeof server, "127.0.0.1:%u", port);
    begin_at(&scene, (const char *const[]){server}, 1, 64 << 10, true);
    for (int i = 1; i <= LAST; i++)
        push_long(&scene, i);
    assert_true(client_sync(scene.client, PATIENCE_MS * NS_PER_MS));
    counts = client_counts(scene.client);
    assert_int_equal(counts.pending + counts.dropped, LAST);
    assert_in_range(counts.pending, 50, 60); /* of 1 KiB each */
    expect_logged(&scene, "warning the spool is full: the oldest messages are dropped dropped=");
    peer = meet(listener, &hello);
    assert_int_equal(hello.first, 1);
    (void)snprintf(skip, sizeof skip, "{\"@skip\":{\"to\":%d,\"chain\":\"00000000\"}}",
                   (int)counts.dropped);
    expect_line(&peer, skip);
    for (uint64_t i = counts.dropped + 1; i <= LAST; i++) {
        const char *line = take_line(&peer);

        assert_non_null(line);
        assert_int_equal(strtoull(line + strlen("{\"n\":"), NULL, 10), i);
        if (i % 10 == 0)
            say(&peer, "{\"@ack\":%d}\n", (int)i);
    }
    assert_true(flush(&scene));
    end(&scene);
    drop_peer(&peer);
}

static void the_next_server_takes_over_until_the_first_is_back(void **state)
{
    uint16_t ports[2] = {0, 0};
    int first = serve(&ports[0]);
    SCOPED(close_at) int second = serve(&ports[1]);
    char servers[2][32];
    struct hello hello, other, again;
    struct scene scene;
    struct peer a, b;

    for (int i = 0; i < 2; i++)
        (void)snprintf(servers[i], sizeof servers[i], "127.0.0.1:%u", ports[i]);
    begin_at(&scene, (const char *const[]){servers[0], servers[1]}, 2, 0, false);
    a = meet(first, &hello);
    assert_false(readable_within(second, 50)); /* nobody needs it */
    push_numbers(&scene, 1, 2);
    expect_numbers(&a, 1, 2);
    /* The first goes, with two messages unacknowledged: they stay its own. */
    (void)close(first);
    drop_peer(&a);
    b = meet(second, &other);
    assert_string_not_equal(other.stream, hello.stream);
    push_numbers(&scene, 3, 4);
    expect_numbers(&b, 3, 4);
    say(&b, "{\"@ack\":2}\n");
    wait_pending(&scene, 2);
    /* It is back, and had applied one of them. */
    first = serve(&ports[0]);
    a = take_peer(first);
    again = take_hello(&a);
    assert_string_equal(again.stream, hello.stream);
    welcome(&a, 1, 1, chain_of_numbers(1));
    expect_numbers(&a, 2, 2);
    say(&a, "{\"@ack\":2}\n");
    assert_true(flush(&scene));
    push_numbers(&scene, 5, 5);
    expect_numbers(&a, 5, 5);
    assert_null(take_line(&b)); /* let go of, with nothing more to acknowledge */
    expect_logged(&scene, "info disconnected server=");
    end(&scene);
    drop_peer(&a);
    drop_peer(&b);
    (void)close(first);
}

/* Pings until the ping goes to `chosen` rather than to `other`. */
static void wait_chosen(struct scene *scene, struct peer *chosen, struct peer *other)
{
    for (;;) {
        struct pollfd events[] = {{.fd = chosen->fd, .events = POLLIN},
                                  {.fd = other->fd, .events = POLLIN}};

        client_ping(scene->client, 0);
        assert_true(poll(events, 2, PATIENCE_MS) > 0);
        assert_non_null(take_line(events[0].revents != 0 ? chosen : other));
        if (events[0].revents != 0)
            return;
    }
}

static void a_server_keeps_its_unacknowledged_messages_while_another_is_used(void **state)
{
    uint16_t ports[2] = {0, 0};
    SCOPED(close_at) int first = serve(&ports[0]);
    SCOPED(close_at) int second = serve(&ports[1]);
    char servers[2][32];
    struct hello hello, other;
    struct scene scene;
    struct peer a, b;

    for (int i = 0; i < 2; i++)
        (void)snprintf(servers[i], sizeof servers[i], "127.0.0.1:%u", ports[i]);
    begin_at(&scene, (const char *const[]){servers[0], servers[1]}, 2, 0, false);
    a = take_peer(first);
    (void)take_hello(&a); /* no welcome for more than a second: the second one's turn */
    b = meet(second, &hello);
    push_numbers(&scene, 1, 1);
    expect_numbers(&b, 1, 1);
    welcome(&a, 0, 0, 0);
    wait_chosen(&scene, &a, &b);
    push_numbers(&scene, 2, 2);
    expect_numbers(&a, 2, 2); /* new ones go to the first again */
    say(&a, "{\"@ack\":1}\n");
    wait_pending(&scene, 1);
    drop_peer(&b); /* the second one goes with its message, and is still called on for it */
    b = take_peer(second);
    other = take_hello(&b);
    assert_string_equal(other.stream, hello.stream);
    welcome(&b, 0, 0, 0);
    expect_numbers(&b, 1, 1);
    say(&b, "{\"@ack\":1}\n");
    assert_true(flush(&scene));
    assert_null(take_line(&b));
    end(&scene);
    drop_peer(&a);
    drop_peer(&b);
}

static bool open_on_disk(const char *folder, const char *server, const struct log *log,
                         struct client **client)
{
    const struct client_options options = {.name = "web-1",
                                           .servers = &server,
                                           .server_count = 1,
                                           .folder = folder,
                                           .sync = SPOOL_SYNC_DISK,
                                           .log = log};
    struct rasad_error error;

    return client_open(&options, client, &error);
}

static const char nobody[] = "127.0.0.1:1";

/* A source that counts, and goes on behind what the spool has. It tells its standard output how far
 * it has come. */
static _Noreturn void count_on(const char *folder)
{
    const struct log log = {.fd = -1};
    struct rasad_error error;
    struct client *client;
    uint64_t place;

    if (!open_on_disk(folder, nobody, &log, &client))
        _exit(1);
    place = client_taken(client);
    for (;;) {
        char message[32];
        int length = snprintf(message, sizeof message, "{\"n\":%llu}", (unsigned long long)++place);

        if (!client_push(client, message, (size_t)length, &error))
            _exit(1);
        if (place % 7 == 0 && (!client_sync(client, -1) || client_taken(client) != place ||
                               write(STDOUT_FILENO, &place, sizeof place) != sizeof place))
            _exit(1);
    }
}

static int remove_one(const char *path, const struct stat *file, int kind, struct FTW *where)
{
    return remove(path);
}

/* Kills the source after it has told of so many steps; how far it had come. */
static uint64_t kill_after(char *folder, int steps)
{
    char *arguments[] = {"test_client", "count-on", folder, NULL};
    uint64_t place = 0, last = 0;
    posix_spawn_file_actions_t actions;
    int tell[2], status;
    pid_t child;

    assert_int_equal(pipe2(tell, O_CLOEXEC), 0);
    assert_int_equal(posix_spawn_file_actions_init(&actions), 0);
    assert_int_equal(posix_spawn_file_actions_adddup2(&actions, tell[1], STDOUT_FILENO), 0);
    assert_int_equal(posix_spawn(&child, "/proc/self/exe", &actions, NULL, arguments, environ), 0);
    (void)posix_spawn_file_actions_destroy(&actions);
    (void)close(tell[1]);
    for (int i = 0; read(tell[0], &place, sizeof place) == sizeof place; i++) {
        last = place;
        if (i == steps)
            assert_int_equal(kill(child, SIGKILL), 0);
    }
    (void)close(tell[0]);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status));
    return last;
}

static void a_source_that_is_killed_goes_on_where_the_spool_is(void **state)
{
    char folder[] = "/tmp/rasad-client-XXXXXX", server[32];
    struct scene scene = {.log = {.fd = memfd_create("log", MFD_CLOEXEC)}};
    uint16_t port = 0;
    SCOPED(close_at) int listener = serve(&port);
    uint64_t taken = 0;
    struct hello hello;
    struct peer peer;

    assert_non_null(mkdtemp(folder));
    for (int life = 0; life < 10; life++) {
        uint64_t told = kill_after(folder, 3 * life);

        assert_true(open_on_disk(folder, nobody, &scene.log, &scene.client));
        taken = client_taken(scene.client);
        if (taken < told)
            fail_msg("life %d: of %" PRIu64 " taken it has %" PRIu64, life, told, taken);
        client_close(scene.client);
    }
    (void)snprintf(server, sizeof server, "127.0.0.1:%u", port);
    assert_true(open_on_disk(folder, server, &scene.log, &scene.client));
    peer = meet(listener, &hello);
    expect_numbers(&peer, 1, (int)taken);
    say(&peer, "{\"@ack\":%" PRIu64 "}", taken);
    assert_true(flush(&scene));
    assert_int_equal(client_taken(scene.client), taken);
    end(&scene);
    drop_peer(&peer);
    (void)nftw(folder, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static void pongs_are_timed_and_foreign_ones_ignored(void **state)
{
    uint16_t port = 0;
    SCOPED(close_at) int listener = serve(&port);
    struct client_pong pong;
    struct hello hello;
    struct scene scene;
    struct peer peer;
    int64_t start_ns;

    begin(&scene, port);
    client_ping(scene.client, 41); /* nobody to ping yet, so nothing comes of it */
    peer = meet(listener, &hello);
    push_numbers(&scene, 1, 1); /* when this arrives, the client is ready */
    expect_numbers(&peer, 1, 1);
    start_ns = clock_steady_ns();
    client_ping(scene.client, 42);
    expect_line(&peer, "{\"@ping\":1}");
    assert_false(client_take_pong(scene.client, &pong));
    say(&peer, "{\"@pong\":77}{\"@pong\":\"x\"}{\"@pong\":1}{\"@pong\":1}{\"@ack\":1}");
    assert_true(flush(&scene));
    assert_true(client_take_pong(scene.client, &pong));
    assert_int_equal(pong.token, 42);
    assert_in_range(pong.rtt_ns, 1, clock_steady_ns() - start_ns);
    assert_false(client_take_pong(scene.client, &pong));
    end(&scene);
    drop_peer(&peer);
}

static void it_finds_the_address_that_answers(void **state)
{
    uint16_t port = 0;
    SCOPED(close_at) int listener = serve(&port);
    char server[32];
    struct hello hello;
    struct scene scene;
    struct peer peer;

    /* "localhost" is ::1 as well where there is IPv6, and nobody listens there. */
    (void)snprintf(server, sizeof server, "localhost:%u", port);
    begin_at(&scene, (const char *const[]){server}, 1, 0, false);
    peer = meet(listener, &hello);
    push_numbers(&scene, 1, 1);
    expect_numbers(&peer, 1, 1);
    end(&scene);
    drop_peer(&peer);
}

static void it_speaks_ipv6(void **state)
{
    struct sockaddr_in6 address = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    socklen_t size = sizeof address;
    SCOPED(close_at) int listener = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
    char server[32];
    struct hello hello;
    struct scene scene;
    struct peer peer;

    if (listener < 0 || bind(listener, (void *)&address, sizeof address) != 0)
        skip(); /* no IPv6 here */
    assert_int_equal(listen(listener, 1), 0);
    assert_int_equal(getsockname(listener, (void *)&address, &size), 0);
    (void)snprintf(server, sizeof server, "[::1]:%u", ntohs(address.sin6_port));
    begin_at(&scene, (const char *const[]){server}, 1, 0, false);
    peer = meet(listener, &hello);
    push_numbers(&scene, 1, 1);
    expect_numbers(&peer, 1, 1);
    expect_logged(&scene, "server=[::1]:");
    end(&scene);
    drop_peer(&peer);
}

static void a_wrong_server_is_refused_at_once(void **state)
{
    static const char *const wrong[] = {"", ":5050", "host:0", "host:65536", "[::1", "host:x"};
    struct log log = {.fd = -1};

    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        struct client_options options = {
            .name = "x", .servers = &wrong[i], .server_count = 1, .log = &log};
        struct rasad_error error = {0};
        struct client *client = NULL;

        assert_false(client_open(&options, &client, &error));
        assert_null(client);
        assert_string_not_equal(error.text, "");
    }
}

/* ---- Parts ---- */

static void delays_double_up_to_their_cap(void **state)
{
    static const struct {
        int64_t at_s, low_ms, high_ms;
    } rows[] = {
        {1, 150, 200},       {1, 300, 400},
        {2, 600, 800}, /* doubled, less up to a quarter */
        {3, 750, 1000},      {100, 750, 1000},
        {300, 750, 1000}, /* the cap of the early minutes */
        {301, 1500, 2000},   {303, 3000, 4000},
        {307, 6000, 8000}, /* then it grows on */
        {315, 12000, 16000}, {331, 22500, 30000},
        {900, 22500, 30000},
    };
    static const uint64_t randoms[] = {0, UINT64_MAX, UINT64_C(0x123456789abcdef)};

    for (size_t r = 0; r < sizeof randoms / sizeof *randoms; r++) {
        struct backoff backoff = {0};

        for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
            int64_t delay_ns = backoff_next(&backoff, rows[i].at_s * NS_PER_S, randoms[r]);

            if (delay_ns < rows[i].low_ms * NS_PER_MS || delay_ns > rows[i].high_ms * NS_PER_MS)
                fail_msg("row %zu: %" PRId64 " ns", i, delay_ns);
        }
    }
}

static void replies_are_read_strictly(void **state)
{
    static const struct {
        const char *text;
        enum reply_kind kind;
        uint64_t applied, committed;
    } rows[] = {
        {"{\"@ack\":12}", REPLY_ACK, 0, 12},
        {" { \"@ack\" : 12 } ", REPLY_ACK, 0, 12},
        {"{\"new\":[{\"@ack\":1},\"}\\\"\"],\"@ack\":2}", REPLY_ACK, 0, 2}, /* passed over */
        {"{\"@ack\":18446744073709551615}", REPLY_ACK, 0, UINT64_MAX},
        {"{\"@ack\":18446744073709551616}", REPLY_BROKEN, 0, 0}, /* doesn't fit */
        {"{\"@ack\":-1}", REPLY_BROKEN, 0, 0},
        {"{\"@ack\":1.0}", REPLY_BROKEN, 0, 0},
        {"{\"@ack\":null}", REPLY_BROKEN, 0, 0},
        {"{\"@ack\":{}}", REPLY_BROKEN, 0, 0},
        {"{\"@welcome\":{\"applied\":5,\"committed\":3,\"chain\":\"0123abcd\"}}", REPLY_WELCOME, 5,
         3},
        {"{\"@welcome\":{\"committed\":3,\"more\":{},\"applied\":5}}", REPLY_WELCOME, 5, 3},
        {"{\"@welcome\":{\"applied\":3,\"committed\":5}}", REPLY_BROKEN, 3, 5}, /* can't be */
        {"{\"@welcome\":{\"applied\":5}}", REPLY_BROKEN, 5, 0},
        {"{\"@welcome\":{\"applied\":5,\"committed\":3,\"chain\":\"0123ABCD\"}}", REPLY_BROKEN, 5,
         3}, /* lower case only */
        {"{\"@welcome\":{\"applied\":5,\"committed\":3,\"chain\":\"123\"}}", REPLY_BROKEN, 5, 3},
        {"{\"@welcome\":[]}", REPLY_BROKEN, 0, 0},
        {"{\"@pong\":3}", REPLY_PONG, 0, 0},
        {"{\"@error\":{\"reason\":\"x\"}}", REPLY_ERROR, 0, 0},
        {"{\"@again\":\"00112233445566778899aabbccddeeff\"}", REPLY_AGAIN, 0, 0},
        {"{\"@again\":\"00112233445566778899aabbccddeef\"}", REPLY_BROKEN, 0, 0},
        {"{\"@again\":\"00112233445566778899AABBCCDDEEFF\"}", REPLY_BROKEN, 0, 0},
        {"{\"@again\":1}", REPLY_BROKEN, 0, 0},
        {"{\"@later\":1}", REPLY_OTHER, 0, 0},
        {"{\"ack\":1}", REPLY_OTHER, 0, 0},
        {"{}", REPLY_OTHER, 0, 0},
    };

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct reply reply = reply_parse(rows[i].text, strlen(rows[i].text));

        if (reply.kind != rows[i].kind || reply.applied != rows[i].applied ||
            (reply.kind != REPLY_BROKEN && reply.committed != rows[i].committed))
            fail_msg("%s: kind %d, applied %" PRIu64 ", committed %" PRIu64, rows[i].text,
                     reply.kind, reply.applied, reply.committed);
    }
}

int main(int argc, char *argv[])
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(messages_follow_the_welcome_and_acks_free_them),
        cmocka_unit_test(an_ack_that_is_faster_than_the_keeper_ends_a_flush),
        cmocka_unit_test(what_is_taken_back_ends_a_flush),
        cmocka_unit_test(an_ack_just_before_the_end_makes_room),
        cmocka_unit_test(after_a_break_it_goes_on_behind_what_was_applied),
        cmocka_unit_test(asked_again_it_goes_on_as_after_a_break),
        cmocka_unit_test(connections_cut_anywhere_lose_and_double_nothing),
        cmocka_unit_test(a_server_that_forgot_all_is_given_what_is_kept),
        cmocka_unit_test(a_foreign_stream_is_left_for_a_new_one),
        cmocka_unit_test(nonsense_ends_the_connection_and_the_next_one_is_fine),
        cmocka_unit_test(a_server_that_says_nothing_is_left),
        cmocka_unit_test(a_server_that_does_not_read_costs_bounded_memory),
        cmocka_unit_test(a_full_spool_drops_its_oldest_and_says_how_many),
        cmocka_unit_test(the_next_server_takes_over_until_the_first_is_back),
        cmocka_unit_test(a_server_keeps_its_unacknowledged_messages_while_another_is_used),
        cmocka_unit_test(a_source_that_is_killed_goes_on_where_the_spool_is),
        cmocka_unit_test(pongs_are_timed_and_foreign_ones_ignored),
        cmocka_unit_test(it_finds_the_address_that_answers),
        cmocka_unit_test(it_speaks_ipv6),
        cmocka_unit_test(a_wrong_server_is_refused_at_once),
        cmocka_unit_test(delays_double_up_to_their_cap),
        cmocka_unit_test(replies_are_read_strictly),
    };

    if (argc == 3 && strcmp(argv[1], "count-on") == 0)
        count_on(argv[2]);
    return cmocka_run_group_tests_name("client", tests, NULL, NULL);
}
