/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * reject: why a sample or a message was refused: the stable words of the contract
 * (rasad-protocol(7)), the same in rasad_rejected_total{reason}, the log and the manual.
 */

enum reject {
    REJECT_BAD_JSON,
    REJECT_BAD_UTF8,
    REJECT_UNKNOWN_KEY,
    REJECT_BAD_VALUE,
    REJECT_BAD_LABEL,
    REJECT_BAD_NAME,
    REJECT_TOO_LONG,
    REJECT_MIXED,
    REJECT_TRUNCATED,
    REJECT_PLUGIN_CRASH,
    REJECT_COUNT,
};

/* The word for it, such as "bad_json". */
static inline const char *reject_word(enum reject reason)
{
    static const char *const words[] = {
        "bad_json", "bad_utf8", "unknown_key", "bad_value", "bad_label",
        "bad_name", "too_long", "mixed",       "truncated", "plugin_crash",
    };

    return words[reason];
}
