/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * conf_names: the rules about the names that metrics are exported under (FORMATS: the legal
 * characters, what is reserved, and which families would write samples of one name). Inside of
 * conf.
 * Threads: none inside.
 */
#include <stdbool.h>
#include <stddef.h>

#include "base/conf_scan.h"
#include "conf/conf.h"

/* Complains of an `agent_label` that can't be one. */
void conf_names_check_agent_label(struct conf_tree *tree);

/* Complains of a metric section's title, `name` and `labels`. `name`: the family's, or NULL. */
void conf_names_check_metric(struct conf_tree *tree, const struct conf_statement *section,
                             const char *name);

/* Complains of metrics whose samples would have one name; sections[i] is that of metrics[i]. Those
 * without name or plugin don't count. */
void conf_names_check_clashes(struct conf_tree *tree, const struct conf_statement *const *sections,
                              const struct conf_metric *metrics, size_t count);
