/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * page: what a browser gets at /: no script, nothing from elsewhere.
 */

/* The page, in HTML. */
extern const char page_html[];

/* What a browser may load for it. */
#define PAGE_POLICY                                                                                \
    "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; "         \
    "frame-ancestors 'none'"
