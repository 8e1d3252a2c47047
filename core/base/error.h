/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * error: errors go up as values. A function that can fail returns bool and takes a struct
 * rasad_error last; rasad_fail() (rasad/plugin.h) fills it, and whoever knows more puts the place
 * in front with rasad_fail_at(). Whoever can act on it logs it, once.
 * What a user reads is WHERE: WHAT (WHAT TO DO).
 */
#include <rasad/plugin.h>

/* Puts "PLACE: " in front of the error's text (which it cuts if need be) and returns false. */
__attribute__((format(printf, 2, 3))) bool rasad_fail_at(struct rasad_error *error,
                                                         const char *format, ...);

/* Fills the error with "out of memory" and returns false. */
bool rasad_fail_memory(struct rasad_error *error);
