/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * log: what the recorder writes and images reads. A log is a file of entries, each appended by one
 * write; the byte order is the machine's.
 *
 *     head (48 bytes) | name (head.name_length bytes) | bytes | tail (4 bytes: MAGIC ^ length)
 *
 * A process that is killed while it appends leaves a torn entry, and others go on behind it; a
 * reader that meets one looks for the next magic whose tail fits. Anybody may append a NOTE: zeros
 * in the head but for magic, length and kind, and the text as bytes.
 *
 * Entries are written after what they tell of has succeeded, so that the log never promises more
 * than the kernel did. The exception is SYNC_BEGIN: what is logged before it is covered by the
 * sync.
 */
#include <stdint.h>

#define LOG_MAGIC 0x72775052u

enum log_kind {
    LOG_START =
        1,    /* a process begins: file = the folder's number, a = whether a snapshot follows */
    LOG_SNAP, /* found at the start: folder, file, name; a = is a folder, b = size */
    LOG_SNAP_BYTES, /* and what is in it: file, a = offset, bytes */
    LOG_SNAP_END,
    LOG_NOTE,       /* bytes */
    LOG_CREATE,     /* folder, file, name (none: O_TMPFILE); a = is a folder */
    LOG_LINK,       /* folder, file, name */
    LOG_UNLINK,     /* folder, file (0 if unknown), name */
    LOG_RENAME,     /* folder, file, a = folder of the new name, b = renameat2's flags;
                       name = old, bytes = new */
    LOG_WRITE,      /* file, a = offset, bytes */
    LOG_DURABLE,    /* file, a = offset, b = length: of a write that the kernel took as synced */
    LOG_SIZE,       /* file, a = the new size */
    LOG_ZERO,       /* file, a = offset, b = length */
    LOG_SYNC_BEGIN, /* file (0: all there is), a = a number of this sync in its process */
    LOG_SYNC_END,   /* file, a = that number, b = errno or 0 */
    LOG_LOOSE,      /* file: sync_file_range, which promises nothing */
    LOG_MAPPED,     /* file: may be written through memory, which nobody records */
    LOG_ODD,        /* bytes: something that images cannot show */
};

struct log_head {
    uint32_t magic;
    uint32_t length; /* of the whole entry */
    uint16_t kind;
    uint16_t name_length;
    uint32_t process;
    uint64_t file;   /* inode number; a CREATE makes it a new file */
    uint64_t folder; /* inode number */
    uint64_t a;
    uint64_t b;
};

_Static_assert(sizeof(struct log_head) == 48, "power.py packs it too");
