/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * disk: a folder as a power cut may leave it. It is fed a recorder's entries in order, keeps what
 * is durable, what the page cache holds, and each change in between, and at any time makes an
 * image.
 *
 * The model:
 * - A sync that succeeded covers what was written before it began. One that failed leaves what it
 *   should have covered unsynced for good, as Linux does: the pages are clean, so the next sync
 *   succeeds without them.
 * - Each change of a sector since then has come through with probability p, with all that the page
 *   cache held of that sector at that moment. A sector is never torn; a write of several is.
 * - A file's size likewise; but what is behind a truncation implies it (a journal keeps order).
 * - Names change when their folder is synced. Before that, `ordered` keeps a random prefix of each
 *   folder's changes (ext4's way), and `any` keeps each with probability p (what POSIX allows). A
 *   rename is one change, of the folder of the new name. A file's own sync does nothing for its
 * name.
 */
#include "log.h"
#include <stdbool.h>
#include <stddef.h>

struct entry {
    struct log_head head;
    const char *name;  /* head.name_length bytes */
    const char *bytes; /* length bytes */
    size_t length;
};

/* Random numbers that a seed replays (splitmix64). */
struct dice {
    uint64_t state;
};

uint64_t dice_roll(struct dice *dice);
/* From 0 to below, evenly. */
uint64_t dice_below(struct dice *dice, uint64_t below);
bool dice_hits(struct dice *dice, double probability);

struct disk;

struct disk *disk_new(size_t sector_bytes);
void disk_free(struct disk *disk);

/* Takes the next entry; index counts all entries and rises. */
void disk_take(struct disk *disk, const struct entry *entry, size_t index);

/* Whether a first snapshot is complete, so that images make sense. */
bool disk_is_known(const struct disk *disk);

/* Whether an entry was met that images cannot show; says so on standard error once. */
bool disk_is_odd(const struct disk *disk);

/* Bytes that a later snapshot has healed: what kills had left out of the log. */
uint64_t disk_healed_bytes(const struct disk *disk);

/* Makes the image in a folder that is there and empty. */
void disk_image(struct disk *disk, struct dice *dice, double probability, bool any_names,
                const char *folder);

/* How many files or names of the real folder differ from what the log says, each told on standard
 * error. Contents that were written through mappings are not looked at. */
unsigned disk_compare(struct disk *disk, const char *folder);
