/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The verb send: samples from the command line or from standard input, and what became of each.
 * After a few of them it pings, and the pong says that the server has taken them all; so it never
 * sends faster than it prints, and the server needn't keep verdicts for it.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#include "arguments.h"
#include "base/frame.h"
#include "base/number.h"
#include "base/scoped.h"
#include "client.h"
#include "ctl.h"
#include "output.h"

/* So many bytes of messages go out between two pings: the verdicts about them fit into the socket,
 * so that even one who prints slowly gets every one. */
#define CHUNK_BYTES 2048

#define READ_BYTES (64 << 10)

/* The server's own limit is this or less. */
#define MOST_MESSAGE (64 << 20)

struct sending {
    struct client client;
    bool json;
    uint64_t refused;
    int64_t ping; /* the last one's number, begun at random: what is sent may hold others */
    struct text unsent;
    struct text out; /* of ours */
};

static void sending_close(struct sending *sending)
{
    client_close(&sending->client);
    text_free(&sending->unsent);
    text_free(&sending->out);
}

/* ---- What the server says ------------------------------------------------------------------ */

static int show_verdict(struct sending *sending, json_object *verdict)
{
    if (output_member(verdict, "series") == NULL)
        sending->refused++;
    if (sending->json) {
        output_json(verdict);
        return 0;
    }
    text_clear(&sending->out);
    output_add_verdict(&sending->out, verdict, false);
    text_add_char(&sending->out, '\n');
    return output_text(&sending->out) ? 0 : EXIT_FAILURE;
}

/* What was only counted, since one message had very many samples. */
static int show_count(struct sending *sending, json_object *verdicts)
{
    sending->refused += (uint64_t)json_object_get_int64(output_member(verdicts, "refused"));
    if (sending->json) {
        output_json(verdicts);
        return 0;
    }
    text_clear(&sending->out);
    text_printf(&sending->out, "(%s accepted and %s refused that are not shown)\n",
                output_string(verdicts, "accepted"), output_string(verdicts, "refused"));
    return output_text(&sending->out) ? 0 : EXIT_FAILURE;
}

/* One reply; `*pong` is the number in it, if it is one. */
static int take_reply(struct sending *sending, json_object *reply, int64_t *pong)
{
    json_object *member;

    if (json_object_object_get_ex(reply, "@verdict", &member))
        return show_verdict(sending, member);
    if (json_object_object_get_ex(reply, "@verdicts", &member))
        return show_count(sending, member);
    if (json_object_object_get_ex(reply, "@pong", &member))
        *pong = json_object_get_int64(member);
    if (!json_object_object_get_ex(reply, "@error", &member))
        return 0;
    (void)fprintf(stderr, "rasadctl: %s\n", output_string(member, "text"));
    return EX_USAGE;
}

/* Sends what is unsent, which ends with a whole message, and waits until the server has taken it.
 */
static int exchange(struct sending *sending)
{
    int64_t pong = 0, ping = ++sending->ping;
    int status;

    text_printf(&sending->unsent, "{\"@ping\":%lld}\n", (long long)ping);
    if (sending->unsent.failed) {
        (void)fputs("rasadctl: out of memory\n", stderr);
        return EXIT_FAILURE;
    }
    status = client_write(&sending->client, sending->unsent.at, sending->unsent.length);
    text_clear(&sending->unsent);
    while (status == 0 && pong != ping) {
        json_object *reply;

        status = client_read(&sending->client, &reply);
        if (status != 0)
            break;
        status = take_reply(sending, reply, &pong);
        (void)json_object_put(reply);
    }
    return status;
}

/* ---- What we send -------------------------------------------------------------------------- */

/* A message of one sample, as short as it can be. */
static void add_message(struct text *out, const struct arguments *arguments)
{
    const char *key = arguments->operands[0], *value = arguments->operands[1];

    text_add_char(out, '{');
    text_add_json(out, key, strlen(key));
    text_add_string(out, arguments->label_count > 0 ? ":{\"value\":" : ":");
    if (number_is_json(value, strlen(value)))
        text_add_string(out, value);
    else
        text_add_json(out, value, strlen(value));
    for (size_t i = 0; i < arguments->label_count; i++) {
        const char *label = arguments->labels[i], *equals = strchr(label, '=');

        text_add_string(out, i == 0 ? ",\"labels\":{" : ",");
        text_add_json(out, label, (size_t)(equals - label));
        text_add_char(out, ':');
        text_add_json(out, equals + 1, strlen(equals + 1));
    }
    text_add_string(out, arguments->label_count > 0 ? "}}}\n" : "}\n");
}

static void add_hello(struct text *out, const char *agent)
{
    text_add_string(out, "{\"@hello\":{\"agent\":");
    text_add_json(out, agent, strlen(agent));
    text_add_string(out, "}}\n");
}

/* Sends all whole messages among these bytes, and drops them. */
static int take_messages(struct sending *sending, struct frame *frame, struct text *in,
                         bool *goodbye)
{
    enum frame_kind kind;
    size_t at, size, from = 0, dropped;
    bool any = false;
    int status = 0;

    while (status == 0 &&
           (kind = frame_next(frame, in->at, in->length, &at, &size)) != FRAME_MORE) {
        if (kind == FRAME_DISCONNECT) {
            *goodbye = true;
            break;
        }
        text_add(&sending->unsent, in->at + from, frame->next - from);
        from = frame->next;
        any = true;
        if (sending->unsent.length >= CHUNK_BYTES) {
            status = exchange(sending);
            any = false;
        }
    }
    if (status == 0 && any)
        status = exchange(sending);
    if (*goodbye)
        return status;
    dropped = frame_drop(frame);
    if (dropped > from) /* blanks, and what is no whole message yet */
        text_add(&sending->unsent, in->at + from, dropped - from);
    memmove(in->at, in->at + dropped, in->length - dropped);
    in->length -= dropped;
    return status;
}

/* What never became a message is sent as well, so that the server refuses it as it would any. */
static int send_rest(struct sending *sending, const struct text *rest)
{
    int64_t pong = 0;
    int status;

    text_add(&sending->unsent, rest->at, rest->length);
    status = client_write(&sending->client, sending->unsent.at, sending->unsent.length);
    (void)shutdown(sending->client.fd, SHUT_WR);
    while (status == 0) {
        json_object *reply;

        if (client_at_end(&sending->client))
            break;
        status = client_read(&sending->client, &reply);
        if (status != 0)
            break;
        status = take_reply(sending, reply, &pong);
        (void)json_object_put(reply);
    }
    return status;
}

/* Everything that standard input holds, as it comes. */
static int send_input(struct sending *sending)
{
    struct frame frame = frame_make(MOST_MESSAGE);
    SCOPED(text_free) struct text in = {0};
    bool goodbye = false;
    int status = 0;

    while (status == 0 && !goodbye) {
        ssize_t got;

        if (!text_reserve(&in, READ_BYTES)) {
            (void)fputs("rasadctl: out of memory\n", stderr);
            return EXIT_FAILURE;
        }
        got = read(STDIN_FILENO, in.at + in.length, READ_BYTES);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0) {
            (void)fprintf(stderr, "rasadctl: cannot read standard input: %s\n", strerror(errno));
            return EXIT_FAILURE;
        }
        if (got == 0)
            break;
        in.length += (size_t)got;
        status = take_messages(sending, &frame, &in, &goodbye);
    }
    if (status != 0)
        return status;
    return goodbye || frame_end(&frame) == FRAME_MORE ? 0 : send_rest(sending, &in);
}

/* Where our pings begin: below half of what an int64_t holds, so that they never run out. */
static int64_t first_ping(void)
{
    uint64_t random;

    if (getrandom(&random, sizeof random, 0) != (ssize_t)sizeof random)
        random = (uint64_t)getpid() << 32;
    return (int64_t)(random >> 2);
}

/* Becomes a sender and sends it all. */
static int send_all(struct sending *sending, const struct arguments *arguments)
{
    SCOPED(text_free) struct text request = {0};
    SCOPED(json_put_at) json_object *reply = NULL;
    int status = client_open(&sending->client);

    sending->ping = first_ping();
    client_begin(&request, "send");
    if (status == 0)
        status = client_ask(&sending->client, &request, &reply);
    if (status == 0 && arguments->agent != NULL) {
        add_hello(&sending->unsent, arguments->agent);
        status = exchange(sending);
    }
    if (status != 0)
        return status;
    if (arguments->operand_count == 0)
        return send_input(sending);
    add_message(&sending->unsent, arguments);
    return exchange(sending);
}

int send_main(int argc, char *argv[])
{
    static const struct arguments_rule rule = {
        .usage = "usage: rasadctl send KEY VALUE [--label NAME=VALUE]... [--agent NAME] [--json]\n"
                 "                     [-S SOCKET]\n"
                 "       rasadctl send [--agent NAME] [--json] [-S SOCKET] <JSON-LINES\n"
                 "Sends a sample, or the messages of standard input, and tells what became of "
                 "each;\nexits with 65 if any was refused.\n",
        .takes = TAKES_JSON | TAKES_AGENT | TAKES_LABEL,
        .most = 2,
    };
    SCOPED(sending_close) struct sending sending = {.client = {.fd = -1}};
    struct arguments arguments;
    int status;

    if (!arguments_read(argc, argv, &rule, &arguments))
        return arguments.status;
    if (arguments.operand_count == 1)
        return arguments_refuse(&rule, "no value for", arguments.operands[0]);
    if (arguments.operand_count == 0 && arguments.label_count > 0)
        return arguments_refuse(&rule, "no KEY and VALUE for --label", arguments.labels[0]);
    if (arguments.operand_count == 2 && arguments.operands[0][0] == '@')
        return arguments_refuse(&rule, "no key begins with @ as does", arguments.operands[0]);
    sending.json = arguments.json;
    status = send_all(&sending, &arguments);
    return status == 0 && sending.refused > 0 ? EX_DATAERR : status;
}
