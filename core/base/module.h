/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * module: a shared object of ours or a user's, loaded without trusting the file system: the file
 * is opened once without following a link, checked through that descriptor (regular, owned by root
 * or by us, written by nobody else), copied into a sealed memory file, and only the copy is looked
 * at and loaded. So what was checked is what runs, and replacing, truncating or deleting the file
 * harms nothing. The ABI number in the ELF note is read before a line of the object runs.
 * glibc knows objects by path, so the copy's descriptor stays open as long as the handle: a reused
 * number would bring back the old code.
 * Threads: module_open() and module_close() from one thread at a time.
 */
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

struct module {
    void *handle; /* dlopen()'s */
    void *symbol; /* the one that was asked for */
    int fd;       /* the private copy's */
};

/* What a module must be. */
struct module_kind {
    const char *what; /* "plugin", "collector", for messages */
    const char
        *note_owner;    /* the ELF note's owner; its descriptor is a 32-bit ABI number, type 1 */
    uint32_t abi;       /* the number that it must carry */
    const char *symbol; /* what it must export */
};

/* Loads it; the error names the path. To be ended with module_close(). */
bool module_open(const char *path, const struct module_kind *kind, struct module *module,
                 struct rasad_error *error);

void module_close(struct module *module);
