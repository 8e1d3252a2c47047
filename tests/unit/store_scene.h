/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * store_scene: a database in a folder of its own, and shards at a desk (crossing.h) whose cuts come
 * into it and which are loaded from it, as in a server but on one thread.
 * Memory: the test's own; running out of it ends the test, but within what may fail.
 */
#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "connection.h"
#include "store/loading.h"
#include "store/store.h"

#include "crossing.h"

static const struct log silent = {.fd = -1};

struct scene {
    char folder[64];
    struct store *store;
    struct crossing *crossing;
    struct cut *pending; /* cut, and not on disk */
    int64_t now_ns;      /* steady */
    struct loaded loaded;
};

static inline void scene_begin(struct scene *scene)
{
    *scene = (struct scene){.now_ns = NS_PER_S};
    (void)snprintf(scene->folder, sizeof scene->folder, "%s/rasad-store-XXXXXX",
                   access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp"); /* memory is faster */
    assert_non_null(mkdtemp(scene->folder));
}

static inline struct loading scene_loading(struct scene *scene)
{
    struct crossing *crossing = scene->crossing;

    return (struct loading){
        .store = scene->store,
        .conf = &crossing->made->conf,
        .families = &crossing->families,
        .shards = crossing->shards,
        .shard_count = crossing->shard_count,
        .view = &crossing->view,
        .log = &silent,
        .steady_ns = scene->now_ns,
    };
}

/* Shards under a conf of these sections, for the store; agents are not told apart if `agent_label`
 * is "". */
static inline void scene_add_shards(struct scene *scene, const struct section *sections,
                                    const char *agent_label, int shard_count)
{
    struct crossing *crossing = crossing_new_with(sections, shard_count);

    crossing->made->conf.agent_label = (char *)(uintptr_t)agent_label;
    crossing->made->conf.agent_ttl_ns = 24 * 3600 * NS_PER_S;
    crossing->now_ns = scene->now_ns;
    for (int i = 0; i < shard_count; i++) {
        crossing->stores[i]->ids = store_ids(scene->store);
        crossing->agents[i]->keeps_marks = true;
    }
    scene->crossing = crossing;
}

/* A server starts; false with the error. */
static inline bool scene_try_start(struct scene *scene, const struct section *sections,
                                   const char *agent_label, int shard_count,
                                   struct rasad_error *error)
{
    struct loading loading;

    if (!store_open(scene->folder, false, (struct store_progress){.tell = NULL}, &silent,
                    scene->now_ns, &scene->store, error))
        return false;
    scene_add_shards(scene, sections, agent_label, shard_count);
    loading = scene_loading(scene);
    return loading_run(&loading, &scene->loaded, error);
}

static inline void scene_start(struct scene *scene, const struct section *sections,
                               const char *agent_label, int shard_count)
{
    struct rasad_error error;

    if (!scene_try_start(scene, sections, agent_label, shard_count, &error))
        fail_msg("%s", error.text);
}

/* The server is killed. */
static inline void scene_kill(struct scene *scene)
{
    for (struct cut *next, *cut = scene->pending; cut != NULL; cut = next) {
        next = cut->next;
        cut_free(cut);
    }
    scene->pending = NULL;
    if (scene->crossing != NULL)
        crossing_free(scene->crossing);
    scene->crossing = NULL;
    store_close(scene->store);
    scene->store = NULL;
}

static inline void scene_end(struct scene *scene)
{
    DIR *folder = opendir(scene->folder);
    const struct dirent *file;

    scene_kill(scene);
    assert_non_null(folder);
    while ((file = readdir(folder)) != NULL) {
        if (file->d_name[0] != '.')
            (void)unlinkat(dirfd(folder), file->d_name, 0);
    }
    (void)closedir(folder);
    assert_int_equal(rmdir(scene->folder), 0);
}

/* ---- Commits ------------------------------------------------------------------------------- */

/* The shards' cuts come behind those that are pending; false if there is no memory for one. */
static inline bool scene_cut(struct scene *scene)
{
    struct cut **end = &scene->pending;

    while (*end != NULL)
        end = &(*end)->next;
    for (int i = 0; i < scene->crossing->shard_count; i++) {
        scene->crossing->shards[i].ingest.steady_ns = scene->now_ns;
        *end = shard_cut(&scene->crossing->shards[i]);
        if (*end == NULL)
            return false;
        end = &(*end)->next;
    }
    return true;
}

/* What is on disk comes into the view, and the marks to their shards. */
static inline void scene_show_pending(struct scene *scene)
{
    while (scene->pending != NULL) {
        struct cut *cut = scene->pending;
        struct marks *marks = cut->marks;

        scene->pending = cut->next;
        cut->marks = NULL;
        for (size_t i = 0; marks != NULL && i < marks->count; i++)
            (void)agents_take_mark(scene->crossing->agents[cut->shard], &marks->at[i]);
        free(marks);
        view_take(&scene->crossing->view, cut);
    }
}

/* Writes what is pending. */
static inline bool scene_write(struct scene *scene, bool hold_all, struct rasad_error *error)
{
    if (!store_write(scene->store, scene->pending, hold_all, scene->now_ns, error))
        return false;
    scene_show_pending(scene);
    return true;
}

/* A whole commit, as the publisher makes it. */
static inline bool scene_try_commit(struct scene *scene, struct rasad_error *error)
{
    bool all = store_wants_all(scene->store);

    for (int i = 0; all && i < scene->crossing->shard_count; i++)
        shard_want_all(&scene->crossing->shards[i]);
    if (!scene_cut(scene))
        return rasad_fail_memory(error);
    return scene_write(scene, all, error);
}

static inline void scene_commit(struct scene *scene)
{
    struct rasad_error error;

    if (!scene_try_commit(scene, &error))
        fail_msg("%s", error.text);
}

/* ---- A reload ------------------------------------------------------------------------------ */

/* As changeover.c goes it: a commit, the way over, and what was aside comes back. */
static inline void scene_reload(struct scene *scene, const struct section *sections)
{
    struct crossing *crossing = scene->crossing;
    struct made *to = made_new(sections);
    struct loading loading;
    struct rasad_error error;
    struct text report = {0};
    struct plan plan;

    scene_commit(scene);
    to->conf.agent_label = crossing->made->conf.agent_label;
    to->conf.agent_ttl_ns = crossing->made->conf.agent_ttl_ns;
    if (!plan_make(&crossing->made->conf, &to->conf, &plan, &report))
        fail_msg("no plan: %s", text_end(&report));
    crossing->store = scene->store;
    crossing->steady_ns = scene->now_ns;
    if (!crossing_go(crossing, to, &plan, &error))
        fail_msg("%s", error.text);
    plan_free(&plan);
    text_free(&report);
    loading = scene_loading(scene);
    if (!loading_return(&loading, &scene->loaded, &error))
        fail_msg("%s", error.text);
}

/* ---- Senders ------------------------------------------------------------------------------- */

static inline int scene_shard_of(const struct scene *scene, const char *agent)
{
    return connection_shard(agent, strlen(agent), scene->crossing->shard_count);
}

/* Counts so much; false: refused. An agent of NULL is none, and its samples come to any shard. */
static inline bool scene_send(struct scene *scene, const char *key, const char *agent,
                              const char *labels, uint64_t count)
{
    int shard = agent != NULL ? scene_shard_of(scene, agent)
                              : (int)(count % (uint64_t)scene->crossing->shard_count);
    struct series *series;

    scene->crossing->now_ns = scene->now_ns;
    series = crossing_send(scene->crossing, shard, key, agent, labels, count);
    if (series != NULL && series->agent != NULL)
        atomic_store(&series->agent->named, true);
    return series != NULL;
}

/* The agent's stream of this number, which is made if need be. */
static inline struct stream *scene_stream(struct scene *scene, const char *agent, int number)
{
    struct agents *agents = scene->crossing->agents[scene_shard_of(scene, agent)];
    unsigned char id[16] = {(unsigned char)number, 1};
    struct agent *sender = agents_get(agents, agent, strlen(agent));
    struct stream *stream = sender != NULL ? agents_get_stream(agents, sender, id) : NULL;

    assert_non_null(stream);
    return stream;
}

/* The stream has applied one more. */
static inline void scene_apply(struct scene *scene, const char *agent, int number)
{
    struct stream *stream = scene_stream(scene, agent, number);

    stream->applied++;
    stream->chain = (uint32_t)stream->applied * 3;
    stream->last_used_ns = scene->now_ns;
    agents_touch_stream(scene->crossing->agents[scene_shard_of(scene, agent)], stream);
}

/* All that lives, under the metrics and agents that there are; see crossing_show(). */
static inline const char *scene_show(struct scene *scene)
{
    scene_commit(scene);
    return crossing_show(scene->crossing);
}
