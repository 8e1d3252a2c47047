/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * nearest: what a misspelt word was meant to be.
 */
#include <stddef.h>

/* The candidate that is fewest edits (insert, delete, replace, swap neighbours) away from `word`,
 * or NULL if none is near enough: at most 2 edits, and fewer than half of the word's length.
 * The first of several wins. */
const char *nearest_word(const char *word, const char *const *candidates, size_t count);
