/* SPDX-License-Identifier: Apache-2.0 */
#include "disk.h"

#include <dirent.h>
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define MOST_BYTES (4ULL << 30) /* of one file */
#define NONE UINT64_MAX

enum view { DURABLE, CACHE, IMAGE, VIEWS };

/* A file's bytes; zero from size to capacity but for what came through beyond a size that did not.
 */
struct bytes {
    char *at;
    size_t size;
    size_t capacity; /* a whole number of sectors */
};

/* A change that is in the page cache and not known to be durable. */
struct change {
    enum { SECTOR, SHRINK, GROW } kind;
    bool doomed;    /* a sync of it failed, so that no later one helps */
    size_t index;   /* of the entry */
    uint64_t where; /* the sector's number, or the new size */
    char *sector;   /* what the page cache then held; owned */
};

struct name {
    char text[256];
    struct node *node;
};

struct names {
    struct name *at;
    size_t count, capacity;
};

/* A file or a folder. Numbers are used again, so only the newest node of a number gets entries. */
struct node {
    uint64_t number;
    bool is_folder, replaced, mapped, reached;
    bool nameless; /* made by O_TMPFILE and not linked yet */
    struct bytes bytes[VIEWS];
    struct change *changes; /* in order */
    size_t count, capacity;
    struct names names[VIEWS];
    uint64_t moves, kept; /* of its pending moves, while an image is made */
};

/* A change of names that is not known to be durable. */
struct move {
    enum { ADD, DROP, MOVE, SWAP } kind;
    size_t index;
    struct node *folder; /* whose sync makes it durable */
    struct node *from;   /* MOVE, SWAP: the folder of the old name */
    struct node *node;   /* NULL for DROP */
    char name[256];
    char old[256];
};

struct sync {
    uint32_t process;
    uint64_t number;
    size_t begin;
};

struct disk {
    size_t sector;
    struct node **nodes;
    size_t node_count, node_capacity;
    struct node *root;
    struct move *moves;
    size_t move_count, move_capacity;
    struct sync *syncs;
    size_t sync_count, sync_capacity;
    struct names seen; /* in the snapshot that is being taken: nodes only */
    bool known, odd;
    uint64_t healed;
};

/* ---- Small tools ---------------------------------------------------------------------------- */

uint64_t dice_roll(struct dice *dice)
{
    uint64_t z = (dice->state += 0x9e3779b97f4a7c15u);

    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

uint64_t dice_below(struct dice *dice, uint64_t below)
{
    return dice_roll(dice) % below;
}

bool dice_hits(struct dice *dice, double probability)
{
    return (double)(dice_roll(dice) >> 11) < probability * 0x1p53;
}

/* Room for one more in a growing array. */
static void *room(void *at, size_t count, size_t *capacity, size_t size)
{
    if (count < *capacity)
        return at;
    *capacity = *capacity ? *capacity * 2 : 16;
    at = reallocarray(at, *capacity, size);
    if (at == NULL)
        errx(2, "out of memory");
    return at;
}

static void bytes_reach(struct bytes *b, uint64_t size, size_t sector)
{
    size_t capacity = b->capacity ? b->capacity : sector;

    if (size > MOST_BYTES)
        errx(2, "a file of %llu bytes is too large to be shown", (unsigned long long)size);
    while (capacity < size)
        capacity *= 2;
    if (capacity == b->capacity)
        return;
    b->at = realloc(b->at, capacity);
    if (b->at == NULL)
        errx(2, "out of memory");
    memset(b->at + b->capacity, 0, capacity - b->capacity);
    b->capacity = capacity;
}

static void bytes_shrink(struct bytes *b, uint64_t size)
{
    if (size < b->capacity)
        memset(b->at + size, 0, b->capacity - size);
    if (size < b->size)
        b->size = size;
}

/* ---- Names ---------------------------------------------------------------------------------- */

static struct node *names_find(const struct names *names, const char *text)
{
    for (size_t i = 0; i < names->count; i++)
        if (strcmp(names->at[i].text, text) == 0)
            return names->at[i].node;
    return NULL;
}

static void names_drop(struct names *names, const char *text)
{
    for (size_t i = 0; i < names->count; i++) {
        if (strcmp(names->at[i].text, text) == 0) {
            names->at[i] = names->at[--names->count];
            return;
        }
    }
}

static void names_set(struct names *names, const char *text, struct node *node)
{
    names_drop(names, text);
    names->at = room(names->at, names->count, &names->capacity, sizeof *names->at);
    strcpy(names->at[names->count].text, text);
    names->at[names->count++].node = node;
}

static void names_copy(struct names *to, const struct names *from)
{
    to->count = 0;
    for (size_t i = 0; i < from->count; i++) {
        to->at = room(to->at, to->count, &to->capacity, sizeof *to->at);
        to->at[to->count++] = from->at[i];
    }
}

static void move_apply(const struct move *move, enum view view)
{
    struct names *names = &move->folder->names[view];
    struct names *from = move->from != NULL ? &move->from->names[view] : NULL;

    switch (move->kind) {
    case ADD:
        names_set(names, move->name, move->node);
        break;
    case DROP:
        names_drop(names, move->name);
        break;
    case MOVE:
        if (names_find(from, move->old) == move->node)
            names_drop(from, move->old);
        names_set(names, move->name, move->node);
        break;
    case SWAP: {
        struct node *other = names_find(names, move->name);

        if (other != NULL && other != move->node)
            names_set(from, move->old, other);
        names_set(names, move->name, move->node);
        break;
    }
    }
}

static void add_move(struct disk *disk, const struct move *move)
{
    move_apply(move, CACHE);
    if (!disk->known) {
        move_apply(move, DURABLE);
        return;
    }
    disk->moves = room(disk->moves, disk->move_count, &disk->move_capacity, sizeof *disk->moves);
    disk->moves[disk->move_count++] = *move;
}

/* ---- Nodes ---------------------------------------------------------------------------------- */

static struct node *node_find(struct disk *disk, uint64_t number)
{
    for (size_t i = disk->node_count; i-- > 0;)
        if (disk->nodes[i]->number == number && !disk->nodes[i]->replaced)
            return disk->nodes[i];
    return NULL;
}

static struct node *node_new(struct disk *disk, uint64_t number, bool is_folder)
{
    struct node *old = node_find(disk, number);
    struct node *node = calloc(1, sizeof *node);

    if (node == NULL)
        errx(2, "out of memory");
    if (old != NULL)
        old->replaced = true;
    node->number = number;
    node->is_folder = is_folder;
    disk->nodes = room(disk->nodes, disk->node_count, &disk->node_capacity, sizeof *disk->nodes);
    disk->nodes[disk->node_count++] = node;
    return node;
}

static void node_free(struct node *node)
{
    for (size_t i = 0; i < node->count; i++)
        free(node->changes[i].sector);
    free(node->changes);
    for (int v = 0; v < VIEWS; v++) {
        free(node->bytes[v].at);
        free(node->names[v].at);
    }
    free(node);
}

static void reach(struct node *node)
{
    if (node->reached)
        return;
    node->reached = true;
    for (int v = DURABLE; v <= CACHE; v++)
        for (size_t i = 0; i < node->names[v].count; i++)
            reach(node->names[v].at[i].node);
}

/* Frees what no image can show any more. What is open still and written to is not missed. */
static void sweep(struct disk *disk)
{
    size_t kept = 0;

    for (size_t i = 0; i < disk->node_count; i++)
        disk->nodes[i]->reached = false;
    reach(disk->root);
    for (size_t i = 0; i < disk->move_count; i++) {
        reach(disk->moves[i].folder);
        if (disk->moves[i].from != NULL)
            reach(disk->moves[i].from);
        if (disk->moves[i].node != NULL)
            reach(disk->moves[i].node);
    }
    for (size_t i = 0; i < disk->node_count; i++) {
        struct node *node = disk->nodes[i];

        if (node->reached || (node->nameless && !node->replaced))
            disk->nodes[kept++] = node;
        else
            node_free(node);
    }
    disk->node_count = kept;
}

/* ---- Changes of bytes ----------------------------------------------------------------------- */

static void add_change(struct node *node, int kind, size_t index, uint64_t where, char *sector)
{
    node->changes = room(node->changes, node->count, &node->capacity, sizeof *node->changes);
    node->changes[node->count++] =
        (struct change){.kind = kind, .index = index, .where = where, .sector = sector};
}

/* A change reaches the disk. *low is the smallest truncation that has not, or NONE: whatever lies
 * behind it needs it. */
static void land(struct bytes *b, const struct change *change, uint64_t *low, size_t sector)
{
    uint64_t end = change->kind == SECTOR ? (change->where + 1) * sector : NONE;

    if (*low != NONE && end > *low) {
        bytes_shrink(b, *low);
        *low = NONE;
    }
    switch (change->kind) {
    case SECTOR:
        bytes_reach(b, end, sector);
        memcpy(b->at + end - sector, change->sector, sector);
        break;
    case SHRINK:
        bytes_shrink(b, change->where);
        break;
    case GROW:
        bytes_reach(b, change->where, sector);
        b->size = change->where;
        break;
    }
}

/* What has become durable supersedes what is older and still pending (in the first `count`). */
static size_t supersede(struct node *node, size_t count, const struct change *by, size_t sector)
{
    size_t kept = 0;

    for (size_t i = 0; i < count; i++) {
        struct change *c = &node->changes[i];
        uint64_t from = c->where * sector;
        bool gone = c->kind == SECTOR && ((by->kind == SECTOR && by->where == c->where) ||
                                          (by->kind == SHRINK && by->where <= from));

        if (c->kind == SECTOR && by->kind == SHRINK && by->where > from &&
            by->where < from + sector)
            memset(c->sector + (by->where - from), 0, from + sector - by->where);
        if (gone)
            free(c->sector);
        else
            node->changes[kept++] = *c;
    }
    return kept;
}

/* The changes before an entry, of sizes and of these sectors, are durable. */
static void settle(struct disk *disk, struct node *node, size_t before, uint64_t first,
                   uint64_t last)
{
    uint64_t low = NONE;
    size_t kept = 0;

    for (size_t i = 0; i < node->count; i++) {
        struct change c = node->changes[i];
        bool covered = c.index < before && !c.doomed &&
                       (c.kind != SECTOR || (c.where >= first && c.where <= last));

        if (!covered) {
            node->changes[kept++] = c;
            continue;
        }
        land(&node->bytes[DURABLE], &c, &low, disk->sector);
        if (kept > 0)
            kept = supersede(node, kept, &c, disk->sector);
        free(c.sector);
    }
    node->count = kept;
}

static void change_size(struct disk *disk, struct node *node, uint64_t size, size_t index)
{
    struct bytes *cache = &node->bytes[CACHE];

    if (size == cache->size)
        return;
    if (size < cache->size) {
        bytes_shrink(cache, size);
        add_change(node, SHRINK, index, size, NULL);
    } else {
        bytes_reach(cache, size, disk->sector);
        cache->size = size;
        add_change(node, GROW, index, size, NULL);
    }
    if (!disk->known)
        settle(disk, node, NONE, 0, NONE);
}

/* Bytes are written at an offset; zeros if bytes is NULL. */
static void change_bytes(struct disk *disk, struct node *node, uint64_t offset, const char *bytes,
                         size_t length, size_t index)
{
    struct bytes *cache = &node->bytes[CACHE];
    size_t s = disk->sector;

    if (length == 0)
        return;
    bytes_reach(cache, (offset + length + s - 1) / s * s, s);
    if (bytes != NULL)
        memcpy(cache->at + offset, bytes, length);
    else
        memset(cache->at + offset, 0, length);
    for (uint64_t n = offset / s; n <= (offset + length - 1) / s; n++) {
        char *sector = malloc(s);

        if (sector == NULL)
            errx(2, "out of memory");
        memcpy(sector, cache->at + n * s, s);
        add_change(node, SECTOR, index, n, sector);
    }
    if (offset + length > cache->size)
        change_size(disk, node, offset + length, index);
    if (!disk->known)
        settle(disk, node, NONE, 0, NONE);
}

/* ---- Syncs ---------------------------------------------------------------------------------- */

static void sync_names(struct disk *disk, const struct node *folder, size_t before)
{
    size_t kept = 0;

    for (size_t i = 0; i < disk->move_count; i++) {
        struct move *move = &disk->moves[i];

        if (move->index < before && (folder == NULL || move->folder == folder))
            move_apply(move, DURABLE);
        else
            disk->moves[kept++] = *move;
    }
    disk->move_count = kept;
    sweep(disk);
}

static void sync_failed(struct node *node, size_t before)
{
    for (size_t i = 0; i < node->count; i++)
        if (node->changes[i].index < before && node->changes[i].kind == SECTOR)
            node->changes[i].doomed = true;
}

static void sync_end(struct disk *disk, const struct log_head *head)
{
    struct node *node = head->file != 0 ? node_find(disk, head->file) : NULL;
    size_t i = disk->sync_count;
    size_t before;

    while (i > 0 &&
           (disk->syncs[i - 1].process != head->process || disk->syncs[i - 1].number != head->a))
        i--;
    if (i == 0)
        return;
    before = disk->syncs[i - 1].begin;
    disk->syncs[i - 1] = disk->syncs[--disk->sync_count];
    if (head->file == 0 && head->b == 0) {
        for (size_t n = 0; n < disk->node_count; n++)
            settle(disk, disk->nodes[n], before, 0, NONE);
        sync_names(disk, NULL, before);
    } else if (node != NULL && head->b != 0) {
        sync_failed(node, before);
    } else if (node != NULL && node->is_folder) {
        sync_names(disk, node, before);
    } else if (node != NULL) {
        settle(disk, node, before, 0, NONE);
    }
}

static void sync_begin(struct disk *disk, const struct log_head *head, size_t index)
{
    disk->syncs = room(disk->syncs, disk->sync_count, &disk->sync_capacity, sizeof *disk->syncs);
    disk->syncs[disk->sync_count++] = (struct sync){head->process, head->a, index};
}

/* ---- Snapshots ------------------------------------------------------------------------------ */

static void note_seen(struct disk *disk, struct node *node, const char *text)
{
    struct names *seen = &disk->seen;

    seen->at = room(seen->at, seen->count, &seen->capacity, sizeof *seen->at);
    strcpy(seen->at[seen->count].text, text);
    seen->at[seen->count++].node = node;
}

static bool was_seen(const struct disk *disk, const struct name *name)
{
    for (size_t i = 0; i < disk->seen.count; i++)
        if (disk->seen.at[i].node == name->node && strcmp(disk->seen.at[i].text, name->text) == 0)
            return true;
    return false;
}

static void snap(struct disk *disk, const struct entry *entry, struct node *folder,
                 const char *name, size_t index)
{
    struct node *node = names_find(&folder->names[CACHE], name);

    if (node == NULL || node->number != entry->head.file) {
        struct move move = {.kind = ADD, .index = index, .folder = folder};

        node = node_find(disk, entry->head.file);
        if (node == NULL || node->is_folder != (entry->head.a != 0))
            node = node_new(disk, entry->head.file, entry->head.a != 0);
        move.node = node;
        strcpy(move.name, name);
        add_move(disk, &move);
        disk->healed += disk->known;
    }
    if (!node->is_folder) {
        disk->healed += disk->known && node->bytes[CACHE].size != entry->head.b;
        change_size(disk, node, entry->head.b, index);
    }
    note_seen(disk, node, name);
}

static void snap_bytes(struct disk *disk, const struct entry *entry, struct node *node,
                       size_t index)
{
    const struct bytes *cache = &node->bytes[CACHE];
    size_t s = disk->sector;

    for (size_t at = 0; at < entry->length; at += s) {
        uint64_t offset = entry->head.a + at;
        size_t length = entry->length - at < s ? entry->length - at : s;

        if (offset + length <= cache->size &&
            memcmp(cache->at + offset, entry->bytes + at, length) == 0)
            continue;
        disk->healed += disk->known && !node->mapped ? length : 0;
        change_bytes(disk, node, offset, entry->bytes + at, length, index);
    }
}

/* Names that are no longer there have gone unseen. */
static void snap_end(struct disk *disk, size_t index)
{
    for (size_t n = 0; n < disk->node_count; n++) {
        struct node *folder = disk->nodes[n];

        for (size_t i = 0; folder->is_folder && i < folder->names[CACHE].count;) {
            struct move move = {.kind = DROP, .index = index, .folder = folder};

            if (folder->replaced || was_seen(disk, &folder->names[CACHE].at[i])) {
                i++;
                continue;
            }
            strcpy(move.name, folder->names[CACHE].at[i].text);
            add_move(disk, &move);
            disk->healed += disk->known;
        }
    }
    disk->known = true;
}

/* ---- Entries -------------------------------------------------------------------------------- */

static void take_start(struct disk *disk, const struct log_head *head)
{
    if (disk->root == NULL)
        disk->root = node_new(disk, head->file, true);
    else if (disk->root->number != head->file)
        errx(2, "the folder was replaced by another while it was recorded");
    disk->seen.count = 0;
}

static void text_of(char out[256], const char *text, size_t length)
{
    if (length > 255)
        errx(2, "a name of %zu bytes in the log", length);
    memcpy(out, text, length);
    out[length] = '\0';
}

static void take_name(struct disk *disk, const struct entry *entry, size_t index)
{
    const struct log_head *head = &entry->head;
    struct move move = {.index = index, .folder = node_find(disk, head->folder)};

    text_of(move.name, entry->name, head->name_length);
    switch (head->kind) {
    case LOG_CREATE:
        move.kind = ADD;
        move.node = node_new(disk, head->file, head->a != 0);
        move.node->nameless = move.name[0] == '\0';
        break;
    case LOG_LINK:
        move.kind = ADD;
        move.node = node_find(disk, head->file);
        if (move.node != NULL)
            move.node->nameless = false;
        break;
    case LOG_UNLINK:
        move.kind = DROP;
        break;
    default:
        move.kind = (head->b & 2) ? SWAP : MOVE; /* RENAME_EXCHANGE */
        move.from = move.folder;
        move.folder = node_find(disk, head->a);
        move.node = node_find(disk, head->file);
        strcpy(move.old, move.name);
        text_of(move.name, entry->bytes, entry->length);
        if (move.from == NULL)
            return;
        break;
    }
    if (move.folder != NULL && move.name[0] != '\0' && (move.kind == DROP || move.node != NULL))
        add_move(disk, &move);
}

static void take_file(struct disk *disk, const struct entry *entry, struct node *node, size_t index)
{
    const struct log_head *head = &entry->head;
    uint64_t s = disk->sector;

    switch (head->kind) {
    case LOG_SNAP_BYTES:
        snap_bytes(disk, entry, node, index);
        break;
    case LOG_WRITE:
        change_bytes(disk, node, head->a, entry->bytes, entry->length, index);
        break;
    case LOG_ZERO:
        if (head->a < node->bytes[CACHE].size) {
            uint64_t most = node->bytes[CACHE].size - head->a;

            change_bytes(disk, node, head->a, NULL, head->b < most ? head->b : most, index);
        }
        break;
    case LOG_SIZE:
        change_size(disk, node, head->a, index);
        break;
    case LOG_DURABLE:
        if (head->b > 0)
            settle(disk, node, index, head->a / s, (head->a + head->b - 1) / s);
        break;
    case LOG_MAPPED:
        node->mapped = true;
        break;
    default:
        break;
    }
}

void disk_take(struct disk *disk, const struct entry *entry, size_t index)
{
    const struct log_head *head = &entry->head;
    struct node *node;
    char name[256];

    if (disk->root == NULL && head->kind != LOG_START && head->kind != LOG_NOTE)
        errx(2, "the log does not begin with a start");
    switch (head->kind) {
    case LOG_START:
        take_start(disk, head);
        break;
    case LOG_SNAP:
        text_of(name, entry->name, head->name_length);
        if ((node = node_find(disk, head->folder)) != NULL)
            snap(disk, entry, node, name, index);
        break;
    case LOG_SNAP_END:
        snap_end(disk, index);
        break;
    case LOG_CREATE:
    case LOG_LINK:
    case LOG_UNLINK:
    case LOG_RENAME:
        take_name(disk, entry, index);
        break;
    case LOG_SYNC_BEGIN:
        sync_begin(disk, head, index);
        break;
    case LOG_SYNC_END:
        sync_end(disk, head);
        break;
    case LOG_ODD:
        if (!disk->odd)
            warnx("the log tells of %.*s", (int)entry->length, entry->bytes);
        disk->odd = true;
        break;
    default:
        if ((node = node_find(disk, head->file)) != NULL)
            take_file(disk, entry, node, index);
        break;
    }
}

struct disk *disk_new(size_t sector_bytes)
{
    struct disk *disk = calloc(1, sizeof *disk);

    if (disk == NULL)
        errx(2, "out of memory");
    disk->sector = sector_bytes;
    return disk;
}

void disk_free(struct disk *disk)
{
    for (size_t i = 0; i < disk->node_count; i++)
        node_free(disk->nodes[i]);
    free(disk->nodes);
    free(disk->moves);
    free(disk->syncs);
    free(disk->seen.at);
    free(disk);
}

bool disk_is_known(const struct disk *disk)
{
    return disk->known;
}

bool disk_is_odd(const struct disk *disk)
{
    return disk->odd;
}

uint64_t disk_healed_bytes(const struct disk *disk)
{
    return disk->healed;
}

/* ---- Images --------------------------------------------------------------------------------- */

static void choose_names(struct disk *disk, struct dice *dice, double probability, bool any)
{
    for (size_t i = 0; i < disk->node_count; i++) {
        struct node *node = disk->nodes[i];

        if (node->is_folder)
            names_copy(&node->names[IMAGE], &node->names[DURABLE]);
        node->moves = node->kept = 0;
    }
    for (size_t i = 0; i < disk->move_count; i++)
        disk->moves[i].folder->moves++;
    for (size_t i = 0; i < disk->node_count; i++)
        if (disk->nodes[i]->moves > 0)
            disk->nodes[i]->kept = dice_below(dice, disk->nodes[i]->moves + 1);
    for (size_t i = 0; i < disk->move_count; i++) {
        struct node *folder = disk->moves[i].folder;
        bool in_prefix = folder->kept > 0;

        folder->kept -= in_prefix;
        if (any ? dice_hits(dice, probability) : in_prefix)
            move_apply(&disk->moves[i], IMAGE);
    }
}

static void choose_bytes(struct disk *disk, struct node *node, struct dice *dice,
                         double probability)
{
    struct bytes *image = &node->bytes[IMAGE];
    const struct bytes *durable = &node->bytes[DURABLE];
    uint64_t low = NONE;

    bytes_reach(image, durable->capacity, disk->sector);
    if (durable->capacity > 0)
        memcpy(image->at, durable->at, durable->capacity);
    memset(image->at + durable->capacity, 0, image->capacity - durable->capacity);
    image->size = durable->size;
    for (size_t i = 0; i < node->count; i++) {
        const struct change *c = &node->changes[i];

        if (dice_hits(dice, probability))
            land(image, c, &low, disk->sector);
        else if (c->kind == SHRINK && c->where < low)
            low = c->where;
    }
}

static bool is_zero(const char *at, size_t length)
{
    return at[0] == 0 && memcmp(at, at + 1, length - 1) == 0;
}

static void write_file(int at, const char *name, const struct bytes *b)
{
    int descriptor = openat(at, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

    if (descriptor < 0 || ftruncate(descriptor, (off_t)b->size) != 0)
        err(2, "%s", name);
    for (size_t from = 0; from < b->size; from += 65536) {
        size_t length = b->size - from < 65536 ? b->size - from : 65536;

        if (!is_zero(b->at + from, length) &&
            pwrite(descriptor, b->at + from, length, (off_t)from) != (ssize_t)length)
            err(2, "%s", name);
    }
    close(descriptor);
}

static void write_folder(struct disk *disk, const struct node *folder, int at, struct dice *dice,
                         double probability)
{
    for (size_t i = 0; i < folder->names[IMAGE].count; i++) {
        const struct name *name = &folder->names[IMAGE].at[i];

        if (name->node->is_folder) {
            int inner;

            if (mkdirat(at, name->text, 0700) != 0 ||
                (inner = openat(at, name->text, O_RDONLY | O_DIRECTORY | O_CLOEXEC)) < 0)
                err(2, "%s", name->text);
            write_folder(disk, name->node, inner, dice, probability);
            close(inner);
        } else {
            choose_bytes(disk, name->node, dice, probability);
            write_file(at, name->text, &name->node->bytes[IMAGE]);
        }
    }
}

void disk_image(struct disk *disk, struct dice *dice, double probability, bool any_names,
                const char *folder)
{
    int at = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (at < 0)
        err(2, "%s", folder);
    choose_names(disk, dice, probability, any_names);
    write_folder(disk, disk->root, at, dice, probability);
    close(at);
}

/* ---- Comparison ----------------------------------------------------------------------------- */

static bool same_bytes(int at, const char *name, const struct bytes *b, bool only_size)
{
    int descriptor = openat(at, name, O_RDONLY | O_CLOEXEC);
    char buffer[65536];
    struct stat status;
    size_t offset = 0;
    ssize_t n = 0;
    bool same =
        descriptor >= 0 && fstat(descriptor, &status) == 0 && (size_t)status.st_size == b->size;

    while (same && !only_size && (n = read(descriptor, buffer, sizeof buffer)) > 0) {
        same = offset + (size_t)n <= b->size && memcmp(buffer, b->at + offset, (size_t)n) == 0;
        offset += (size_t)n;
    }
    if (descriptor >= 0)
        close(descriptor);
    return same;
}

/* Names that the real folder has and the log does not. */
static unsigned count_unknown(const struct node *folder, int at)
{
    DIR *listing = fdopendir(openat(at, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    unsigned count = 0;
    struct dirent *found;

    if (listing == NULL)
        err(2, "cannot list a folder");
    while ((found = readdir(listing)) != NULL) {
        if (strcmp(found->d_name, ".") == 0 || strcmp(found->d_name, "..") == 0 ||
            names_find(&folder->names[CACHE], found->d_name) != NULL)
            continue;
        warnx("the log does not know of \"%s\": something went unrecorded", found->d_name);
        count++;
    }
    closedir(listing);
    return count;
}

static unsigned compare_folder(const struct node *folder, int at)
{
    unsigned differences = count_unknown(folder, at);

    for (size_t i = 0; i < folder->names[CACHE].count; i++) {
        const struct name *name = &folder->names[CACHE].at[i];
        const struct node *node = name->node;

        if (node->is_folder) {
            int inner = openat(at, name->text, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

            differences += inner < 0 ? 1 : compare_folder(node, inner);
            if (inner >= 0)
                close(inner);
        } else if (!same_bytes(at, name->text, &node->bytes[CACHE], node->mapped)) {
            warnx("the log's \"%s\" is not the folder's: something went unrecorded", name->text);
            differences++;
        }
    }
    return differences;
}

unsigned disk_compare(struct disk *disk, const char *folder)
{
    int at = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    unsigned differences;

    if (at < 0)
        err(2, "%s", folder);
    differences = compare_folder(disk->root, at);
    close(at);
    return differences;
}
