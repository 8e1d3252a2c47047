/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The spool on a disk that fails, and after a power cut. The linker sends the calls that matter
 * here
 * (--wrap), where they fail on demand, or are noted so that the disk can be rebuilt as it may look
 * after a cut at any moment: what was synced is there; of what was not, each sector of a write may
 * be or not, and of what happened to names, so many as the file system got round to, in their
 * order.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "spool_scene.h"

#include <dirent.h>
#include <errno.h>

ssize_t __real_pread(int fd, void *bytes, size_t length, off_t at);
ssize_t __real_pwrite(int fd, const void *bytes, size_t length, off_t at);
struct dirent *__real_readdir(DIR *folder);
int __real_fdatasync(int fd);
int __real_fsync(int fd);
int __real_ftruncate(int fd, off_t size);
int __real_openat(int folder, const char *name, int flags, ...);
int __real_renameat(int folder, const char *name, int other, const char *to);
int __real_unlinkat(int folder, const char *name, int flags);
int __real_mkdirat(int folder, const char *name, mode_t mode);
int __real_posix_fallocate(int fd, off_t at, off_t length);
void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *at, size_t size);
void *__real_reallocarray(void *at, size_t count, size_t size);

ssize_t __wrap_pread(int fd, void *bytes, size_t length, off_t at);
ssize_t __wrap_pwrite(int fd, const void *bytes, size_t length, off_t at);
struct dirent *__wrap_readdir(DIR *folder);
int __wrap_fdatasync(int fd);
int __wrap_fsync(int fd);
int __wrap_ftruncate(int fd, off_t size);
int __wrap_openat(int folder, const char *name, int flags, ...);
int __wrap_renameat(int folder, const char *name, int other, const char *to);
int __wrap_unlinkat(int folder, const char *name, int flags);
int __wrap_mkdirat(int folder, const char *name, mode_t mode);
int __wrap_posix_fallocate(int fd, off_t at, off_t length);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *at, size_t size);
void *__wrap_reallocarray(void *at, size_t count, size_t size);

/* ---- What was done to the disk ---- */

enum what { WRITE, TRUNCATE, SYNC, CREATE, RENAME, UNLINK, MAKE_FOLDER, SYNC_FOLDER, TAKEN, SENT };

struct event {
    enum what what;
    int file, folder; /* see identify() */
    off_t at;         /* of a write; or a size; or how many messages are taken */
    size_t length;
    char *bytes;
    char name[64], to[64];
};

static struct event *events;
static size_t event_count;
static bool notes; /* whether events are noted */

/* Inodes are used again, so files and folders get numbers of ours when they are made. */
static ino_t inodes[4096];
static int inode_count;

static struct event *note(enum what what)
{
    struct event *grown = __real_realloc(events, (event_count + 1) * sizeof *grown);

    assert_non_null(grown);
    events = grown;
    events[event_count] = (struct event){.what = what};
    return &events[event_count++];
}

static void forget_events(void)
{
    for (size_t i = 0; i < event_count; i++)
        free(events[i].bytes);
    free(events);
    events = NULL;
    event_count = 0;
    inode_count = 0;
}

static int identify(ino_t inode, bool is_new)
{
    for (int i = inode_count - 1; i >= 0 && !is_new; i--) {
        if (inodes[i] == inode)
            return i;
    }
    assert_in_range(inode_count, 0, 4095);
    inodes[inode_count] = inode;
    return inode_count++;
}

static int number_of(int fd)
{
    struct stat file;

    assert_int_equal(fstat(fd, &file), 0);
    return identify(file.st_ino, false);
}

/* ---- Failing ---- */

/* Which calls fail. */
enum fault {
    FAULT_PWRITE = 1,
    FAULT_SYNC = 2,
    FAULT_NAMES = 4, /* open to create, rename */
    FAULT_MEMORY = 8,
    FAULT_READ = 16,
    FAULT_LOOK = 32, /* open what is there, list a folder */
};

static struct {
    int kinds;  /* of fault */
    long left;  /* calls that succeed before; below 0: all */
    bool stays; /* all that come after fail, too */
    int code;
    bool failed;
} plan = {.left = -1};

static bool fails(int kind)
{
    if ((plan.kinds & kind) == 0 || plan.left < 0)
        return false;
    if (plan.left > 0) {
        plan.left--;
        return false;
    }
    plan.failed = true;
    if (!plan.stays)
        plan.left = -1;
    errno = plan.code;
    return true;
}

ssize_t __wrap_pread(int fd, void *bytes, size_t length, off_t at)
{
    return fails(FAULT_READ) ? -1 : __real_pread(fd, bytes, length, at);
}

ssize_t __wrap_pwrite(int fd, const void *bytes, size_t length, off_t at)
{
    struct event *event;

    if (fails(FAULT_PWRITE)) {
        if (plan.code == ENOSPC && length > 1) /* a part of it still fits */
            (void)__real_pwrite(fd, bytes, length / 2, at);
        errno = plan.code;
        return -1;
    }
    if (notes) {
        event = note(WRITE);
        event->file = number_of(fd);
        event->at = at;
        event->length = length;
        event->bytes = __real_malloc(length);
        assert_non_null(event->bytes);
        memcpy(event->bytes, bytes, length);
    }
    return __real_pwrite(fd, bytes, length, at);
}

struct dirent *__wrap_readdir(DIR *folder)
{
    return fails(FAULT_LOOK) ? NULL : __real_readdir(folder);
}

int __wrap_fdatasync(int fd)
{
    if (fails(FAULT_SYNC))
        return -1;
    if (notes)
        note(SYNC)->file = number_of(fd);
    return 0; /* the disk of this test is its memory */
}

int __wrap_fsync(int fd)
{
    if (fails(FAULT_SYNC))
        return -1;
    if (notes)
        note(SYNC_FOLDER)->folder = number_of(fd);
    return 0;
}

int __wrap_ftruncate(int fd, off_t size)
{
    struct event *event;

    if (fails(FAULT_PWRITE))
        return -1;
    if (notes) {
        event = note(TRUNCATE);
        event->file = number_of(fd);
        event->at = size;
    }
    return __real_ftruncate(fd, size);
}

int __wrap_openat(int folder, const char *name, int flags, ...)
{
    struct event *event;
    struct stat file;
    bool is_new;
    int fd;

    if ((flags & O_CREAT) == 0)
        return fails(FAULT_LOOK) ? -1 : __real_openat(folder, name, flags);
    if (fails(FAULT_NAMES))
        return -1;
    is_new = fstatat(folder, name, &file, 0) != 0;
    fd = __real_openat(folder, name, flags, 0600);
    if (notes && fd >= 0 && is_new) {
        assert_int_equal(fstat(fd, &file), 0);
        event = note(CREATE);
        event->file = identify(file.st_ino, true);
        event->folder = number_of(folder);
        (void)snprintf(event->name, sizeof event->name, "%s", name);
    }
    return fd;
}

int __wrap_renameat(int folder, const char *name, int other, const char *to)
{
    struct event *event;

    if (fails(FAULT_NAMES))
        return -1;
    if (notes) {
        event = note(RENAME);
        event->folder = number_of(folder);
        (void)snprintf(event->name, sizeof event->name, "%s", name);
        (void)snprintf(event->to, sizeof event->to, "%s", to);
    }
    return __real_renameat(folder, name, other, to);
}

int __wrap_unlinkat(int folder, const char *name, int flags)
{
    struct event *event;

    if (notes) {
        event = note(UNLINK);
        event->folder = number_of(folder);
        (void)snprintf(event->name, sizeof event->name, "%s", name);
    }
    return __real_unlinkat(folder, name, flags);
}

int __wrap_mkdirat(int folder, const char *name, mode_t mode)
{
    int result = __real_mkdirat(folder, name, mode);
    struct event *event;
    struct stat file;

    if (notes && result == 0) {
        assert_int_equal(fstatat(folder, name, &file, 0), 0);
        event = note(MAKE_FOLDER);
        event->folder = number_of(folder);
        event->file = identify(file.st_ino, true);
        (void)snprintf(event->name, sizeof event->name, "%s", name);
    }
    return result;
}

int __wrap_posix_fallocate(int fd, off_t at, off_t length)
{
    return fails(FAULT_PWRITE) ? plan.code : 0;
}

void *__wrap_malloc(size_t size)
{
    return fails(FAULT_MEMORY) ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t count, size_t size)
{
    return fails(FAULT_MEMORY) ? NULL : __real_calloc(count, size);
}

void *__wrap_realloc(void *at, size_t size)
{
    return fails(FAULT_MEMORY) ? NULL : __real_realloc(at, size);
}

void *__wrap_reallocarray(void *at, size_t count, size_t size)
{
    return fails(FAULT_MEMORY) ? NULL : __real_reallocarray(at, count, size);
}

/* ---- Faults ---- */

/* Takes the next message, as the keeper does it when the disk fails; whether that went well. */
static bool take_one(struct scene *scene, size_t server)
{
    enum spool_result result;
    struct messages messages = {0};
    struct rasad_error error;
    long left = plan.left;

    plan.left = -1;
    scene_add(&messages, ++scene->last, 700);
    plan.left = left;
    result = spool_take(scene->spool, server, &messages, &scene->lost, &error);
    if (result == SPOOL_BROKEN) {
        assert_true(plan.failed);
        assert_string_not_equal(error.text, "");
        spool_relieve(scene->spool, true);
        result = spool_take(scene->spool, server, &messages, &scene->lost, &error);
    }
    assert_int_equal(messages.count, result == SPOOL_DONE ? 0 : 1);
    messages_free(&messages);
    return result == SPOOL_DONE;
}

/* Takes messages in all ways while the disk fails at some point. */
static void story(struct scene *scene, struct text *taken)
{
    struct rasad_error error;

    if (!spool_open(&scene->options, &scene->spool, &error))
        return;
    for (int i = 0; i < 24; i++) {
        size_t server = i % 8 < 3 ? 0 : SPOOL_NO_SERVER;

        if (take_one(scene, server))
            text_printf(taken, "%d ", i + 1);
        if (i % 8 == 7 && spool_can_move(scene->spool, 0) &&
            spool_move(scene->spool, 0, &error) == SPOOL_BROKEN) {
            assert_true(plan.failed);
            spool_relieve(scene->spool, false);
        }
        (void)spool_trim(scene->spool, scene->now_ns);
    }
    spool_close(scene->spool);
    scene->spool = NULL;
}

/*
 * Each that was taken must be there, once and in order. One that wasn't may be: where even cutting
 * off what was written fails, it is whole on the disk.
 */
static void check_story(struct scene *scene, struct text *taken)
{
    SCOPED(seen_free) struct seen seen = {0};
    const char *there;
    char *rest = NULL;

    plan.left = -1;
    scene_open(scene);
    scene_drain(scene, &seen);
    text_add_char(&seen.text, ' ');
    there = text_end(&seen.text);
    if (strstr(there, "skip") != NULL ||
        (!plan.stays && strncmp(there, text_end(taken), taken->length) != 0))
        fail_msg("taken: %s\nthere: %s", text_end(taken), there);
    (void)text_end(taken);
    for (char *word = strtok_r(taken->at, " ", &rest); word != NULL;
         word = strtok_r(NULL, " ", &rest)) {
        char wanted[16];

        (void)snprintf(wanted, sizeof wanted, "%s ", word);
        there = strstr(there, wanted);
        if (there == NULL)
            fail_msg("%s was taken, but there is: %s", word, seen.text.at);
    }
    scene->last = 100;
    assert_true(take_one(scene, 0));
    scene_close(scene);
}

/* Runs the story with the n-th call failing, for every n. */
static long fail_each(int kinds, int code, bool stays)
{
    long n = 0;

    do {
        SCOPED(text_free) struct text taken = {0};
        struct scene scene;

        (void)text_reserve(&taken, 1024);
        scene_make(&scene);
        scene.options.sync = SPOOL_SYNC_DISK;
        plan.kinds = kinds;
        plan.code = code;
        plan.stays = stays;
        plan.failed = false;
        plan.left = n++;
        story(&scene, &taken);
        check_story(&scene, &taken);
        scene_free(&scene);
    } while (plan.failed);
    return n;
}

static void each_call_fails_once_and_nothing_taken_is_lost(void **state)
{
    static const int codes[] = {ENOSPC, EIO};

    for (size_t i = 0; i < 2; i++) {
        assert_true(fail_each(FAULT_PWRITE, codes[i], false) > 30);
        assert_true(fail_each(FAULT_SYNC, codes[i], false) > 30);
        assert_true(fail_each(FAULT_NAMES, codes[i], false) > 5);
    }
}

static void from_some_call_on_all_fail_and_nothing_taken_is_lost(void **state)
{
    assert_true(fail_each(FAULT_PWRITE, ENOSPC, true) > 30);
    assert_true(fail_each(FAULT_SYNC, EIO, true) > 30);
    assert_true(fail_each(FAULT_PWRITE | FAULT_SYNC | FAULT_NAMES, EROFS, true) > 60);
}

static void each_allocation_fails_once_and_nothing_taken_is_lost(void **state)
{
    assert_true(fail_each(FAULT_MEMORY, ENOMEM, false) > 20);
}

/* A spool with messages in several files of a stream and of the inbox. */
static void make_filled(struct scene *scene)
{
    struct rasad_error error;

    scene_make(scene);
    scene_open(scene);
    assert_int_equal(scene_push(scene, 0, 15, 700, &error), SPOOL_DONE);
    assert_int_equal(scene_push(scene, SPOOL_NO_SERVER, 15, 700, &error), SPOOL_DONE);
}

/* Each of these messages, once and in order. */
static void expect_all(struct seen *seen, int count)
{
    SCOPED(text_free) struct text wanted = {0};

    for (int i = 1; i <= count; i++)
        text_printf(&wanted, i == 1 ? "%d" : " %d", i);
    assert_string_equal(text_end(&seen->text), text_end(&wanted));
}

/* Tries again and again to take one more message, as the keeper does. */
static void take_in_vain(struct scene *scene, int code)
{
    plan.kinds = FAULT_PWRITE | FAULT_SYNC | FAULT_NAMES;
    plan.code = code;
    plan.stays = true;
    plan.left = 0;
    for (int i = 0; i < 4; i++)
        (void)take_one(scene, SPOOL_NO_SERVER);
    plan.left = -1;
}

/* A disk that fails doesn't work again for having more room, so nothing is dropped for that. */
static void only_for_want_of_space_the_oldest_are_dropped(void **state)
{
    static const int codes[] = {EIO, EROFS, ENOMEM, ENOSPC, EDQUOT};

    for (size_t i = 0; i < 5; i++) {
        SCOPED(seen_free) struct seen seen = {0};
        struct scene scene;

        make_filled(&scene);
        scene_close(&scene);
        scene.options.sync = SPOOL_SYNC_DISK;
        scene.options.drop_oldest = true;
        scene_open(&scene);
        take_in_vain(&scene, codes[i]);
        if (i < 3)
            assert_int_equal(spool_counts(scene.spool).dropped, 0);
        else
            assert_true(spool_counts(scene.spool).dropped > 0);
        scene_drain(&scene, &seen);
        if (i < 3)
            expect_all(&seen, 30);
        scene_free(&scene);
    }
}

/* What can't be read at the start is neither cut off nor given up: nothing is opened. */
static void what_cannot_be_read_at_the_start_is_left_as_it_is(void **state)
{
    bool failed;
    long n = 0;

    do {
        SCOPED(seen_free) struct seen seen = {0};
        struct rasad_error error;
        struct scene scene;

        make_filled(&scene);
        scene_close(&scene);
        plan.kinds = FAULT_READ;
        plan.code = EIO;
        plan.stays = false;
        plan.failed = false;
        plan.left = n++;
        if (spool_open(&scene.options, &scene.spool, &error))
            scene_close(&scene);
        else
            assert_non_null(strstr(error.text, "cannot be read: Input/output error"));
        failed = plan.failed;
        plan.left = -1;
        scene_open(&scene);
        scene_drain(&scene, &seen);
        expect_all(&seen, 30);
        scene_free(&scene);
    } while (failed);
    assert_true(n > 10);
}

/* What a former server was given isn't given to another because it can't be looked at. */
static void a_former_servers_stream_must_be_looked_at(void **state)
{
    static const char *const others[] = {OTHER};
    long n = 0;
    bool failed;

    do {
        struct rasad_error error;
        struct scene scene;
        uint64_t pending;

        make_filled(&scene);
        scene_move(&scene, 0);
        pending = spool_counts(scene.spool).pending - spool_unacked(scene.spool, 0);
        scene_close(&scene);
        scene.options.servers = others;
        scene.options.server_count = 1;
        plan.kinds = FAULT_READ | FAULT_LOOK;
        plan.code = EMFILE;
        plan.stays = false;
        plan.failed = false;
        plan.left = n++;
        if (!spool_open(&scene.options, &scene.spool, &error))
            assert_non_null(strstr(error.text, strerror(EMFILE)));
        failed = plan.failed;
        plan.left = -1;
        if (scene.spool != NULL)
            assert_int_equal(spool_counts(scene.spool).pending, pending);
        scene_free(&scene);
    } while (failed);
    assert_true(n > 30);
}

/* Sends until it ends, and then moves until that does, as they should while reading fails. */
static void send_and_move(struct scene *scene)
{
    SCOPED(text_free) struct text out = {0};
    enum spool_result result = SPOOL_DONE;
    struct rasad_error error;
    bool sent, failed;

    do {
        text_clear(&out);
        sent = spool_send(scene->spool, 0, &out, 1024, &error);
    } while (sent && out.length > 0);
    failed = plan.failed;
    assert_int_equal(sent, !failed);
    if (failed)
        assert_string_equal(error.text, "the spool can't be read: Input/output error");
    while (result == SPOOL_DONE && spool_can_move(scene->spool, 0))
        result = spool_move(scene->spool, 0, &error);
    if (plan.failed && spool_can_move(scene->spool, 0))
        assert_int_equal(result, SPOOL_BROKEN);
    if (result == SPOOL_BROKEN)
        assert_non_null(strstr(error.text, "cannot be read: Input/output error"));
}

/* What can't be read just now is sent, and moved, later. */
static void what_cannot_be_read_for_a_while_is_not_lost(void **state)
{
    bool failed;
    long n = 0;

    do {
        SCOPED(seen_free) struct seen seen = {0};
        struct scene scene;

        make_filled(&scene);
        scene_welcome(&scene, 0, 0, 0);
        plan.kinds = FAULT_READ;
        plan.code = EIO;
        plan.stays = true;
        plan.failed = false;
        plan.left = n++;
        send_and_move(&scene);
        failed = plan.failed;
        plan.left = -1;
        spool_hang_up(scene.spool, 0);
        scene_drain(&scene, &seen);
        expect_all(&seen, 30);
        assert_int_equal(spool_counts(scene.spool).dropped, 0);
        scene_free(&scene);
    } while (failed);
    assert_true(n > 4);
}

/* ---- Power cuts ---- */

/* A file of the rebuilt disk. */
struct image_file {
    int file;
    struct text bytes;
};

struct image_name {
    int folder, file;
    char name[64];
    bool is_folder;
};

/* The disk as it may look after the cut. */
struct image {
    struct image_file files[256];
    size_t file_count;
    struct image_name names[256];
    size_t name_count;
};

static struct text *image_bytes(struct image *image, int file)
{
    for (size_t i = 0; i < image->file_count; i++) {
        if (image->files[i].file == file)
            return &image->files[i].bytes;
    }
    assert_in_range(image->file_count, 0, 255);
    image->files[image->file_count] = (struct image_file){.file = file};
    return &image->files[image->file_count++].bytes;
}

static void image_resize(struct text *bytes, size_t size)
{
    if (size > bytes->length) {
        assert_true(text_reserve(bytes, size - bytes->length));
        memset(bytes->at + bytes->length, 0, size - bytes->length);
    }
    bytes->length = size;
}

/* A write, of which each sector comes to the disk with this chance (in hundredths). */
static void image_write(struct image *image, const struct event *event, int chance)
{
    struct text *bytes = image_bytes(image, event->file);

    for (size_t at = 0; at < event->length;) {
        size_t place = (size_t)event->at + at, left = 512 - place % 512;

        left = left < event->length - at ? left : event->length - at;
        if (rand() % 100 < chance) {
            if (place + left > bytes->length)
                image_resize(bytes, place + left);
            memcpy(bytes->at + place, event->bytes + at, left);
        }
        at += left;
    }
}

static void image_unname(struct image *image, int folder, const char *name)
{
    for (size_t i = 0; i < image->name_count; i++) {
        if (image->names[i].folder == folder && strcmp(image->names[i].name, name) == 0)
            image->names[i--] = image->names[--image->name_count];
    }
}

static void image_name(struct image *image, int folder, const char *name, int file, bool is_folder)
{
    image_unname(image, folder, name);
    assert_in_range(image->name_count, 0, 255);
    image->names[image->name_count] =
        (struct image_name){.folder = folder, .file = file, .is_folder = is_folder};
    (void)snprintf(image->names[image->name_count++].name, 64, "%s", name);
}

static void image_rename(struct image *image, const struct event *event)
{
    for (size_t i = 0; i < image->name_count; i++) {
        struct image_name *name = &image->names[i];

        if (name->folder == event->folder && strcmp(name->name, event->name) == 0) {
            int file = name->file;

            image_unname(image, event->folder, event->name);
            image_name(image, event->folder, event->to, file, false);
            return;
        }
    }
}

static bool is_of_names(enum what what)
{
    return what == CREATE || what == RENAME || what == UNLINK || what == MAKE_FOLDER;
}

/* The last event before the cut that brought the i-th to the disk for certain; or the cut. */
static bool is_synced(size_t i, size_t cut)
{
    const struct event *event = &events[i];

    for (size_t j = i + 1; j < cut; j++) {
        if (is_of_names(event->what) ? events[j].what == SYNC_FOLDER
                                     : events[j].what == SYNC && events[j].file == event->file)
            return true; /* a journaling file system commits names in their order */
    }
    return false;
}

static void image_make(struct image *image, size_t cut, int chance)
{
    size_t names_left = 0;

    for (size_t i = 0; i < cut; i++)
        names_left += is_of_names(events[i].what) && !is_synced(i, cut);
    names_left = names_left > 0 ? (size_t)rand() % (names_left + 1) : 0;
    for (size_t i = 0; i < cut; i++) {
        const struct event *event = &events[i];
        bool synced = is_synced(i, cut);

        if (is_of_names(event->what) && !synced) {
            if (names_left == 0)
                continue;
            names_left--;
        }
        if (event->what == WRITE)
            image_write(image, event, synced ? 100 : chance);
        else if (event->what == TRUNCATE && (synced || rand() % 100 < chance))
            image_resize(image_bytes(image, event->file), (size_t)event->at);
        else if (event->what == CREATE || event->what == MAKE_FOLDER)
            image_name(image, event->folder, event->name, event->file, event->what == MAKE_FOLDER);
        else if (event->what == RENAME)
            image_rename(image, event);
        else if (event->what == UNLINK)
            image_unname(image, event->folder, event->name);
    }
}

/* Writes the names of this folder, and what is below. */
static void image_lay_out(struct image *image, int folder, const char *path)
{
    for (size_t i = 0; i < image->name_count; i++) {
        const struct image_name *name = &image->names[i];
        char below[256];

        if (name->folder != folder)
            continue;
        (void)snprintf(below, sizeof below, "%s/%s", path, name->name);
        if (name->is_folder) {
            assert_int_equal(mkdir(below, 0700), 0);
            image_lay_out(image, name->file, below);
        } else {
            const struct text *bytes = image_bytes(image, name->file);
            SCOPED(close_at) int fd = open(below, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

            assert_true(fd >= 0);
            assert_int_equal(write(fd, bytes->at, bytes->length), (ssize_t)bytes->length);
        }
    }
}

static void image_free(struct image *image)
{
    for (size_t i = 0; i < image->file_count; i++)
        text_free(&image->files[i].bytes);
}

/* What lives through all this: messages are taken, moved, sent, acknowledged and let go of. */
static void live(struct scene *scene, struct seen *seen)
{
    struct rasad_error error;

    for (int i = 0; i < 120; i++) {
        size_t server = rand() % 3 == 0 ? SPOOL_NO_SERVER : 0;
        int count = 1 + rand() % 5;

        bool is_full = scene_push(scene, server, count, rand() % 900, &error) != SPOOL_DONE;

        note(TAKEN)->at = scene->last;
        if ((is_full || rand() % 3 == 0) && spool_can_move(scene->spool, 0))
            assert_int_equal(spool_move(scene->spool, 0, &error), SPOOL_DONE);
        scene_see(scene, 0, seen);
        note(SENT)->at = (off_t)seen->number;
        if (is_full || rand() % 2 == 0)
            assert_true(spool_ack(scene->spool, 0, seen->number, scene->now_ns));
        scene->now_ns += (rand() % 30) * NS_PER_S;
        (void)spool_trim(scene->spool, scene->now_ns);
    }
}

/* The last event of this kind before the cut. */
static uint64_t last_of(enum what what, size_t cut)
{
    uint64_t last = 0;

    for (size_t i = 0; i < cut; i++)
        last = events[i].what == what ? (uint64_t)events[i].at : last;
    return last;
}

/* What the image holds: from the first message that is kept on, each that was taken. */
static void check_taken(const struct seen *seen, int taken, size_t cut)
{
    SCOPED(free_at) char *text = strdup(seen->text.at != NULL ? seen->text.at : "");
    char *rest = NULL;
    int wanted = 0;

    if (seen->last < taken)
        fail_msg("cut %zu: of %d taken there are %s", cut, taken, text);
    for (char *word = strtok_r(text, " ", &rest); word != NULL; word = strtok_r(NULL, " ", &rest)) {
        int n = atoi(word);

        if (n == 0) /* a skip */
            continue;
        if (wanted > 0 && n != wanted && wanted <= taken)
            fail_msg("cut %zu: of %d taken, %d is missing", cut, taken, wanted);
        wanted = n + 1;
    }
}

/* What a server was sent has the same number afterwards. */
static void check_sent(const struct seen *lived, const struct seen *seen, uint64_t first,
                       uint64_t sent, size_t cut)
{
    for (uint64_t number = first; number <= sent; number++) {
        if (seen->n_of[number] != lived->n_of[number])
            fail_msg("cut %zu: message %llu was %d, and is %d", cut, (unsigned long long)number,
                     lived->n_of[number], seen->n_of[number]);
    }
}

/* Opens one image, and goes on with it. */
static void check_image(int root, size_t cut, int chance, const struct seen *lived)
{
    static struct image image;
    SCOPED(seen_free) struct seen seen = {0};
    struct spool_hello hello;
    struct rasad_error error;
    struct scene scene;
    uint64_t taken;

    image = (struct image){0};
    image_make(&image, cut, chance);
    scene_make(&scene);
    scene.options.sync = SPOOL_SYNC_DISK;
    image_lay_out(&image, root, scene.folder);
    image_free(&image);
    scene_open(&scene);
    assert_true(spool_hello(scene.spool, 0, &hello));
    taken = spool_taken(scene.spool); /* in this test, the same as n */
    scene_drain(&scene, &seen);
    if (taken < last_of(TAKEN, cut) || (int)taken != seen.last)
        fail_msg("cut %zu: %llu taken, it says, and the last is %d", cut, (unsigned long long)taken,
                 seen.last);
    check_taken(&seen, (int)last_of(TAKEN, cut), cut);
    check_sent(lived, &seen, hello.first, last_of(SENT, cut), cut);
    scene.last = 10000;
    assert_int_equal(scene_push(&scene, 0, 1, 0, &error), SPOOL_DONE);
    assert_int_equal(spool_taken(scene.spool), taken + 1);
    scene_free(&scene);
}

static void power_cuts_lose_nothing_that_was_taken(void **state)
{
    enum { LIVES = 12, IMAGES = 250 };
    static const int chances[] = {10, 50, 90};

    for (unsigned life = 0; life < LIVES; life++) {
        SCOPED(seen_free) struct seen seen = {0};
        struct scene scene;
        struct stat folder;
        int root;

        srand(life + 1);
        scene_make(&scene);
        scene.options.sync = SPOOL_SYNC_DISK;
        assert_int_equal(stat(scene.folder, &folder), 0);
        root = identify(folder.st_ino, true);
        notes = true;
        scene_open(&scene);
        scene_welcome(&scene, 0, 0, 0);
        live(&scene, &seen);
        notes = false;
        assert_true(event_count > 300);
        for (int i = 0; i < IMAGES; i++)
            check_image(root, (size_t)rand() % event_count, chances[i % 3], &seen);
        scene_free(&scene);
        forget_events();
    }
}

/* What a process that was killed has only written counts for the next one, so that must sync it. */
static void what_was_only_written_is_synced_before_it_counts(void **state)
{
    SCOPED(seen_free) struct seen seen = {0};
    static struct image image;
    struct scene scene;
    struct stat folder;
    size_t cut;
    int root;

    scene_make(&scene);
    assert_int_equal(stat(scene.folder, &folder), 0);
    root = identify(folder.st_ino, true);
    notes = true;
    scene_open(&scene); /* which syncs nothing */
    scene_take(&scene, 0, 5);
    scene_take(&scene, SPOOL_NO_SERVER, 5);
    scene.options.sync = SPOOL_SYNC_DISK;
    scene_reopen(&scene);
    notes = false;
    cut = event_count;
    scene_free(&scene);
    scene_make(&scene);
    image = (struct image){0};
    image_make(&image, cut, 0);
    image_lay_out(&image, root, scene.folder);
    image_free(&image);
    scene_open(&scene);
    scene_drain(&scene, &seen);
    assert_string_equal(text_end(&seen.text), "1 2 3 4 5 6 7 8 9 10");
    scene_free(&scene);
    forget_events();
}

/* What was moved and sent isn't in the inbox alone after a power cut, and so isn't sent again. */
static void what_was_moved_is_on_the_disk_at_every_level(void **state)
{
    SCOPED(seen_free) struct seen seen = {0};
    static struct image image;
    struct scene scene;
    struct stat folder;
    size_t cut;
    int root;

    scene_make(&scene);
    assert_int_equal(stat(scene.folder, &folder), 0);
    root = identify(folder.st_ino, true);
    notes = true;
    scene_open(&scene);
    scene_take(&scene, SPOOL_NO_SERVER, 5);
    scene_move(&scene, 0);
    cut = event_count;
    notes = false;
    scene_free(&scene);
    scene_make(&scene);
    image = (struct image){0};
    image_make(&image, cut, 0);
    image_lay_out(&image, root, scene.folder);
    image_free(&image);
    scene_open(&scene);
    assert_int_equal(spool_unacked(scene.spool, 0), 5);
    scene_drain(&scene, &seen);
    assert_string_equal(text_end(&seen.text), "1 2 3 4 5");
    scene_free(&scene);
    forget_events();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_call_fails_once_and_nothing_taken_is_lost),
        cmocka_unit_test(from_some_call_on_all_fail_and_nothing_taken_is_lost),
        cmocka_unit_test(each_allocation_fails_once_and_nothing_taken_is_lost),
        cmocka_unit_test(only_for_want_of_space_the_oldest_are_dropped),
        cmocka_unit_test(what_cannot_be_read_at_the_start_is_left_as_it_is),
        cmocka_unit_test(a_former_servers_stream_must_be_looked_at),
        cmocka_unit_test(what_cannot_be_read_for_a_while_is_not_lost),
        cmocka_unit_test(power_cuts_lose_nothing_that_was_taken),
        cmocka_unit_test(what_was_only_written_is_synced_before_it_counts),
        cmocka_unit_test(what_was_moved_is_on_the_disk_at_every_level),
    };

    return cmocka_run_group_tests_name("spool_faults", tests, NULL, NULL);
}
