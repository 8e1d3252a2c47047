/* SPDX-License-Identifier: Apache-2.0 */
#include "exporter/http.h"

#include <microhttpd.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/scoped.h"
#include "exporter/exposition.h"
#include "exporter/page.h"

/* Threads that answer: a long scrape must not hold up the others. */
#define THREADS 4

/* Seconds without progress after which a connection is closed. */
#define IDLE_SECONDS 120

/* Nobody must be busy for so long before a pause. */
#define CALM_MS 3

/* name[] parameters of one request. */
#define MOST_NAMES 64

struct http {
    struct scrape_source *source;
    _Atomic bool ready;
    struct sockets sockets;
    struct MHD_Daemon *daemons[SOCKETS_MOST];
    size_t served; /* sockets that have their daemon */
    unsigned connections;
    _Atomic bool pausing; /* answers close their connections */
    _Atomic int busy;     /* connections that wait for an answer, or will */
};

/* What is known of a connection: from its beginning on, and between requests not, it is busy. */
struct visit {
    bool busy;
};

/* What a request names with name[]. */
struct names {
    const char *at[MOST_NAMES];
    size_t count;
};

struct route {
    const char *path;
    enum MHD_Result (*answer)(struct http *http, struct MHD_Connection *connection);
};

static enum MHD_Result respond(struct http *http, struct MHD_Connection *connection,
                               unsigned status, const char *type, struct MHD_Response *response)
{
    enum MHD_Result result;

    if (response == NULL)
        return MHD_NO;
    (void)MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, type);
    (void)MHD_add_response_header(response, "X-Content-Type-Options", "nosniff");
    if (atomic_load(&http->pausing))
        (void)MHD_add_response_header(response, MHD_HTTP_HEADER_CONNECTION, "close");
    if (status == MHD_HTTP_METHOD_NOT_ALLOWED)
        (void)MHD_add_response_header(response, MHD_HTTP_HEADER_ALLOW, "GET, HEAD");
    result = MHD_queue_response(connection, status, response);
    MHD_destroy_response(response);
    return result;
}

/* A constant text. */
static enum MHD_Result respond_text(struct http *http, struct MHD_Connection *connection,
                                    unsigned status, const char *type, const char *text)
{
    return respond(http, connection, status, type,
                   MHD_create_response_from_buffer(strlen(text), (void *)(uintptr_t)text,
                                                   MHD_RESPMEM_PERSISTENT));
}

static enum MHD_Result add_name(void *context, enum MHD_ValueKind kind, const char *key,
                                const char *value)
{
    struct names *names = context;

    if (strcmp(key, "name[]") == 0 && value != NULL && names->count < MOST_NAMES)
        names->at[names->count++] = value;
    return MHD_YES;
}

static enum MHD_Result answer_metrics(struct http *http, struct MHD_Connection *connection)
{
    struct names names = {.count = 0};
    struct filter filter = {.names = names.at};
    SCOPED(text_free) struct text out = {0};
    struct MHD_Response *response;

    (void)MHD_get_connection_values(connection, MHD_GET_ARGUMENT_KIND, add_name, &names);
    filter.count = names.count;
    scrape_write(http->source, &filter, &out);
    /* Half a page would look whole to a scraper. */
    if (out.failed)
        return respond_text(http, connection, MHD_HTTP_INTERNAL_SERVER_ERROR, "text/plain",
                            "out of memory\n");
    if (out.at == NULL)
        return respond_text(http, connection, MHD_HTTP_OK, EXPOSITION_TEXT_TYPE, "");
    response = MHD_create_response_from_buffer(out.length, out.at, MHD_RESPMEM_MUST_FREE);
    if (response != NULL) {
        out = (struct text){0};
        (void)MHD_add_response_header(response, MHD_HTTP_HEADER_VARY, "Accept, Accept-Encoding");
    }
    return respond(http, connection, MHD_HTTP_OK, EXPOSITION_TEXT_TYPE, response);
}

static enum MHD_Result answer_healthy(struct http *http, struct MHD_Connection *connection)
{
    return respond_text(http, connection, MHD_HTTP_OK, "text/plain; charset=utf-8", "healthy\n");
}

static enum MHD_Result answer_ready(struct http *http, struct MHD_Connection *connection)
{
    bool ready = atomic_load(&http->ready);

    return respond_text(http, connection, ready ? MHD_HTTP_OK : MHD_HTTP_SERVICE_UNAVAILABLE,
                        "text/plain; charset=utf-8", ready ? "ready\n" : "not ready\n");
}

static enum MHD_Result answer_page(struct http *http, struct MHD_Connection *connection)
{
    struct MHD_Response *response = MHD_create_response_from_buffer(
        strlen(page_html), (void *)(uintptr_t)page_html, MHD_RESPMEM_PERSISTENT);

    if (response != NULL)
        (void)MHD_add_response_header(response, "Content-Security-Policy", PAGE_POLICY);
    return respond(http, connection, MHD_HTTP_OK, "text/html; charset=utf-8", response);
}

static const struct route routes[] = {
    {"/metrics", answer_metrics},
    {"/-/healthy", answer_healthy},
    {"/-/ready", answer_ready},
    {"/", answer_page},
};

static void set_busy(struct http *http, struct visit *visit, bool busy)
{
    if (visit == NULL || visit->busy == busy)
        return;
    visit->busy = busy;
    (void)atomic_fetch_add(&http->busy, busy ? 1 : -1);
}

static struct visit *visit_of(struct MHD_Connection *connection)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);

    return info != NULL ? info->socket_context : NULL;
}

/* A connection comes and goes. */
static void on_connection(void *context, struct MHD_Connection *connection, void **visit,
                          enum MHD_ConnectionNotificationCode what)
{
    if (what == MHD_CONNECTION_NOTIFY_STARTED)
        *visit = calloc(1, sizeof(struct visit)); /* without memory nobody waits for it */
    set_busy(context, *visit, what == MHD_CONNECTION_NOTIFY_STARTED);
    if (what == MHD_CONNECTION_NOTIFY_CLOSED) {
        free(*visit);
        *visit = NULL;
    }
}

/* A request has had its answer. */
static void on_completed(void *context, struct MHD_Connection *connection, void **request,
                         enum MHD_RequestTerminationCode how)
{
    set_busy(context, visit_of(connection), false);
}

static enum MHD_Result answer(void *context, struct MHD_Connection *connection, const char *url,
                              const char *method, const char *version, const char *upload,
                              size_t *upload_size, void **request)
{
    static const char begun = 0;
    struct http *http = context;

    /* The first call brings the head only; to answer then would close the connection. */
    if (*request == NULL) {
        *request = (void *)(uintptr_t)&begun;
        set_busy(http, visit_of(connection), true);
        return MHD_YES;
    }
    if (*upload_size != 0) { /* a body means nothing to us, but it must be read */
        *upload_size = 0;
        return MHD_YES;
    }
    for (size_t i = 0; i < sizeof routes / sizeof *routes; i++) {
        if (strcmp(url, routes[i].path) != 0)
            continue;
        if (strcmp(method, MHD_HTTP_METHOD_GET) != 0 && strcmp(method, MHD_HTTP_METHOD_HEAD) != 0)
            return respond_text(http, connection, MHD_HTTP_METHOD_NOT_ALLOWED,
                                "text/plain; charset=utf-8", "GET and HEAD only\n");
        return routes[i].answer(http, connection);
    }
    return respond_text(http, connection, MHD_HTTP_NOT_FOUND, "text/plain; charset=utf-8",
                        "nothing here (try / or /metrics)\n");
}

/* A path or parameter with a NUL in it is no other that ends there: the NUL becomes a character
 * that none of ours has. */
static size_t unescape(void *context, struct MHD_Connection *connection, char *text)
{
    size_t length = MHD_http_unescape(text);

    for (size_t i = strlen(text); i < length; i++) {
        if (text[i] == '\0')
            text[i] = '\x01';
    }
    return length;
}

static bool serve(struct http *http, int fd, struct rasad_error *error)
{
    struct MHD_Daemon *daemon = MHD_start_daemon(
        MHD_USE_EPOLL_INTERNAL_THREAD | MHD_USE_ITC, 0, NULL, NULL, answer, http,
        MHD_OPTION_LISTEN_SOCKET, fd, MHD_OPTION_THREAD_POOL_SIZE, (unsigned)THREADS,
        MHD_OPTION_CONNECTION_LIMIT, http->connections, MHD_OPTION_CONNECTION_TIMEOUT,
        (unsigned)IDLE_SECONDS, MHD_OPTION_NOTIFY_CONNECTION, on_connection, http,
        MHD_OPTION_NOTIFY_COMPLETED, on_completed, http, MHD_OPTION_STRICT_FOR_CLIENT, 1,
        MHD_OPTION_UNESCAPE_CALLBACK, unescape, NULL, MHD_OPTION_END);

    if (daemon == NULL)
        return rasad_fail(error, "cannot start the HTTP server");
    http->daemons[http->served++] = daemon;
    return true;
}

bool http_resume(struct http *http, struct rasad_error *error)
{
    atomic_store(&http->pausing, false);
    for (size_t i = 0; i < http->sockets.count; i++) {
        if (!serve(http, http->sockets.fds[i], error))
            return false;
    }
    return true;
}

/* Waits until nobody is busy for a while, in which one that was just accepted comes to be so. */
static void await_calm(struct http *http, int64_t deadline_ns)
{
    static const struct timespec moment = {.tv_nsec = NS_PER_MS};

    for (int calm = 0; calm < CALM_MS && clock_steady_ns() < deadline_ns; calm++) {
        (void)nanosleep(&moment, NULL);
        if (atomic_load(&http->busy) > 0)
            calm = -1;
    }
}

/* Sockets are ours again: a daemon that has one shuts it down in the end, for all who have a dup.
 */
static void quiesce(struct http *http)
{
    for (size_t i = 0; i < http->served; i++)
        (void)MHD_quiesce_daemon(http->daemons[i]);
}

static void stop(struct http *http)
{
    for (size_t i = 0; i < http->served; i++)
        MHD_stop_daemon(http->daemons[i]);
    http->served = 0;
}

void http_pause(struct http *http, int64_t deadline_ns)
{
    atomic_store(&http->pausing, true);
    quiesce(http);
    await_calm(http, deadline_ns);
    stop(http);
}

bool http_open(struct sockets *sockets, unsigned connections, struct scrape_source *source,
               const struct log *log, struct http **out, struct rasad_error *error)
{
    struct http *http = calloc(1, sizeof *http);

    if (http == NULL) {
        sockets_close(sockets);
        return rasad_fail_memory(error);
    }
    http->source = source;
    http->sockets = sockets_take(sockets);
    http->connections = connections;
    if (!http_resume(http, error)) {
        http_leave(http); /* these may be those of the process before, and the next one's */
        http_close(http);
        return false;
    }
    sockets_log(&http->sockets, "serving", log);
    *out = http;
    return true;
}

const struct sockets *http_sockets(const struct http *http)
{
    return &http->sockets;
}

void http_leave(struct http *http)
{
    sockets_leave(&http->sockets);
}

void http_set_ready(struct http *http, bool ready)
{
    atomic_store(&http->ready, ready);
}

void http_close(struct http *http)
{
    if (http == NULL)
        return;
    quiesce(http);
    stop(http);
    sockets_close(&http->sockets);
    free(http);
}
