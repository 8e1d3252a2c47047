/* SPDX-License-Identifier: Apache-2.0 */
#include "reload/changeover.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/scoped.h"
#include "reload/transition.h"
#include "server.h"

/* How long all shards may take to come to a standstill. */
#define PATIENCE_NS (5 * NS_PER_S)

/* What a shard does in a standstill, and what came of it. */
struct shard_work {
    struct transition transition;
    struct rasad_error error; /* why it could not; "" if it could */
};

struct changeover {
    struct server *server;
    struct conf *next; /* then the old one */
    struct families_next families;
    struct shard_work *work; /* one a shard */
};

static struct series_store *store_of(struct changeover *changeover, int shard)
{
    return &changeover->server->shards[shard].ingest.store;
}

static bool task_prepare(void *context, int shard)
{
    struct changeover *changeover = context;
    struct shard_work *work = &changeover->work[shard];

    return transition_prepare(&work->transition, store_of(changeover, shard), &work->error);
}

static bool task_leave(void *context, int shard)
{
    struct changeover *changeover = context;

    transition_leave(&changeover->work[shard].transition, store_of(changeover, shard));
    return true;
}

static bool task_enter(void *context, int shard)
{
    struct changeover *changeover = context;

    transition_enter(&changeover->work[shard].transition, store_of(changeover, shard));
    shard_take_conf(&changeover->server->shards[shard], changeover->next);
    return true;
}

/* States of metrics that were aside come back. Those that can't stay there. */
static void bring_back(struct changeover *changeover)
{
    struct server *server = changeover->server;
    const struct loading loading = server_loading(server);
    struct rasad_error error = {""};
    struct loaded loaded;

    if (server->store == NULL)
        return;
    if (!loading_return(&loading, &loaded, &error))
        log_error(server->log, "states that were aside could not come back",
                  log_text("reason", error.text));
    else if (loaded.series > 0)
        log_info(server->log, "states that were aside are back",
                 log_number("series", (int64_t)loaded.series));
}

static void forget_in_view(struct changeover *changeover)
{
    struct server *server = changeover->server;

    for (uint32_t id = 0; id < families_count(&server->families); id++) {
        const struct family *family = families_at(&server->families, id);
        const struct next_family *next = family != NULL ? family->next : NULL;

        if (next == NULL || next->migrates || next->relabels)
            view_drop_family(&server->view, id);
    }
}

static void show_in_view(struct changeover *changeover)
{
    for (int i = 0; i < changeover->server->common.shard_count; i++) {
        const struct transition *transition = &changeover->work[i].transition;

        for (size_t j = 0; j < transition->count; j++) {
            if (transition->at[j].new != NULL)
                view_add(&changeover->server->view, transition->at[j].new);
        }
    }
}

/* From here on nothing can fail, but that states which were aside come back. */
static void commit(struct changeover *changeover)
{
    struct server *server = changeover->server;
    struct conf *old = server->conf;

    if (server->store != NULL)
        store_end_layouts(server->store, &server->families, clock_steady_ns());
    forget_in_view(changeover);
    (void)standstill_run(&server->common.standstill, task_leave, changeover);
    families_commit(&server->families, &changeover->families);
    server->conf = changeover->next;
    server->common.conf = changeover->next;
    server->source.conf = changeover->next;
    (void)standstill_run(&server->common.standstill, task_enter, changeover);
    show_in_view(changeover);
    bring_back(changeover);
    changeover->next = old;
}

/* A line of the report. */
static bool fail(const char *text, struct text *report)
{
    text_printf(report, "%s\n", text);
    return false;
}

/* The reasons of all shards that could not, once each. */
static void report_shards(const struct changeover *changeover, struct text *report)
{
    for (int i = 0; i < changeover->server->common.shard_count; i++) {
        const char *text = changeover->work[i].error.text;
        bool told = text[0] == '\0';

        for (int j = 0; j < i; j++)
            told |= strcmp(changeover->work[j].error.text, text) == 0;
        if (!told)
            (void)fail(text, report);
    }
}

/* All shards stand still, and the view is shut. */
static bool change_all(struct changeover *changeover, const struct plan *plan, struct text *report)
{
    struct server *server = changeover->server;
    struct rasad_error error = {""};

    /* First, so that the shards have nothing under way. */
    if (!publisher_settle_standing(&server->publisher, &error))
        return fail(error.text, report);
    if (!families_prepare(&server->families, changeover->next, plan, &changeover->families, &error))
        return fail(error.text, report);
    if (!changeover->families.moves ||
        standstill_run(&server->common.standstill, task_prepare, changeover)) {
        commit(changeover);
        return true;
    }
    for (int i = 0; i < server->common.shard_count; i++)
        transition_abort(&changeover->work[i].transition);
    families_abort(&server->families, &changeover->families);
    report_shards(changeover, report);
    return false;
}

/* The shards stand still, if all of them come. */
static bool stand_still(struct changeover *changeover, const struct plan *plan, struct text *report)
{
    struct server *server = changeover->server;
    struct standstill *standstill = &server->common.standstill;
    bool fine;

    standstill_want(standstill);
    shards_wake(server->shards, server->common.shard_count);
    if (!standstill_begin(standstill, clock_steady_ns() + PATIENCE_NS))
        return fail("a plugin keeps a thread of the server busy (try again)", report);
    fine = change_all(changeover, plan, report);
    standstill_end(standstill);
    return fine;
}

static void changeover_free(struct changeover *changeover)
{
    for (int i = 0; changeover->work != NULL && i < changeover->server->common.shard_count; i++)
        transition_free(&changeover->work[i].transition);
    free(changeover->work);
}

bool changeover_run(struct server *server, struct conf **conf, const struct plan *plan,
                    int64_t *paused_ns, struct text *report)
{
    SCOPED(changeover_free)
    struct changeover changeover = {
        .server = server,
        .next = *conf,
        .work = calloc((size_t)server->common.shard_count, sizeof *changeover.work),
    };
    struct rasad_error error;
    int64_t start_ns;
    bool fine;

    if (changeover.work == NULL)
        return fail("out of memory", report);
    /* What there is to be committed is mostly committed before anybody has to stand still. */
    if (server->store != NULL && !publisher_commit(&server->publisher, &error))
        return fail(error.text, report);
    publisher_pause(&server->publisher);
    view_shut(&server->view);
    start_ns = clock_steady_ns();
    fine = stand_still(&changeover, plan, report);
    *paused_ns = clock_steady_ns() - start_ns;
    view_end(&server->view);
    publisher_resume(&server->publisher);
    *conf = changeover.next;
    return fine;
}
