/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * module: a shared object of ours or a user's, loaded without trusting the file system: the file
 * is opened once without following a link, in a folder where not everybody may put another in its
 * place, checked through that descriptor (regular, owned by root or by us, written by nobody else),
 * copied into a sealed memory file, and only the copy is looked at and loaded. So what was checked
 * is what runs, and replacing, truncating or deleting the file harms nothing. The ABI number in the
 * ELF note is read before a line of the object runs, and so is whether it could ever be unloaded.
 * glibc knows objects by path, so the copy's descriptor stays open as long as the handle: a reused
 * number would bring back the old code.
 * Threads: module_open() and module_close() from one thread at a time.
 */
#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

struct module {
    void *handle; /* dlopen()'s; NULL until it is loaded */
    void *symbol; /* the one that was asked for, once it is loaded */
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

/* Takes a private copy of the file and looks at it as data; nothing of it runs. The error names the
 * path. To be ended with module_close(). */
bool module_take(const char *path, const struct module_kind *kind, struct module *module,
                 struct rasad_error *error);

/* The same for a descriptor of a copy that another process of ours took; it is the module's then,
 * even on false. */
bool module_adopt(int fd, const struct module_kind *kind, struct module *module,
                  struct rasad_error *error);

/* Loads what was taken: its constructors run. The error names no path. */
bool module_load(struct module *module, const struct module_kind *kind, struct rasad_error *error);

/* module_take() and module_load(); the error names the path. */
bool module_open(const char *path, const struct module_kind *kind, struct module *module,
                 struct rasad_error *error);

/* Whether both are copies of the same bytes. */
bool module_is_same(const struct module *module, const struct module *other);

/* Unloads it. False if the loader keeps its code for good; then the copy's descriptor stays open,
 * or its number would bring the old code back. */
bool module_close(struct module *module);

/* Whether a module may be called this: [a-z][a-z0-9_]*. NULL may not. */
bool module_is_name(const char *name);

/* The path of NAME.so in the first of the folders that has it; false if none has, or the name can't
 * be one. */
bool module_find(const char *const *folders, size_t count, const char *name, char path[PATH_MAX]);

/* Room for the nearest name, with its NUL. */
#define MODULE_NAME_LENGTH 64

/* The name among all .so files in the folders that `name` was most likely meant to be, or "". */
void module_nearest(const char *const *folders, size_t count, const char *name,
                    char nearest[MODULE_NAME_LENGTH]);
