/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * shrink: makes a case smaller, step by step, as long as somebody says that it still breaks its
 * law: fewer samples, smaller numbers, shorter texts, plain types and times.
 * Threads: none inside. Memory: plain values.
 */
#include <stdbool.h>

#include "laws/slate.h"

/* Whether the case breaks the law still; `*give_up`, if set, ends the search. */
typedef bool shrink_test(void *context, const struct law_case *at, bool *give_up);

/* Makes the case as small as it finds. */
void shrink_case(struct law_case *at, shrink_test *breaks, void *context);
