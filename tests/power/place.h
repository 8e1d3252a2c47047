/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * place: whether a path or a descriptor lies below the folder that a preloaded tool watches.
 * It keeps no table of descriptors but asks the kernel each time (/proc/self/fd), so a descriptor
 * that was duplicated, received over a socket or kept over an exec is seen like any other.
 * Calls no function that the tools replace.
 */
#include <stdbool.h>
#include <stdint.h>

struct place {
    int parent;      /* descriptor of the folder that holds the name, or -1 */
    uint64_t folder; /* its inode number */
    char name[256];
};

/* The folder that counts, an absolute path without links; at most one for a process. */
bool place_set_folder(const char *path);
const char *place_folder(void);

/* Whether the path's name lies below the folder, whether or not it exists; then place is to be
 * closed. */
bool place_find(int at, const char *path, struct place *place);
void place_close(struct place *place);

/* The number of what bears that name now, or 0. */
uint64_t place_file(const struct place *place);

/* Whether the descriptor is a file or a folder in the folder; its number. */
bool place_of(int descriptor, uint64_t *file);

/* The same questions about any folder, and no matter what the descriptor is. */
bool place_is_below(int descriptor, const char *below);
bool place_path_is_below(int at, const char *path, const char *below);
