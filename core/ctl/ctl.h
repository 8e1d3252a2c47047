/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * ctl: the verbs of rasadctl. Each is a main of its own: argv[0] is the verb, the result is the
 * exit code (CTL_… and those of sysexits.h), and what it has to say of an error it has said on
 * standard error: `rasadctl: WHERE: WHAT (WHAT TO DO)`.
 * Threads: one.
 */
#include <sysexits.h>

/* Exit codes: 0 fine, 1 the rest, and of sysexits.h: EX_USAGE 64; EX_DATAERR 65, a sample was
 * refused; EX_UNAVAILABLE 69, no server; EX_NOPERM 77; EX_CONFIG 78. */

/* The variable of the environment that -S sets: where the server's admin socket lies. */
#define CTL_SOCKET_VARIABLE "RASAD_SOCKET"

/* Where it lies if nobody says. */
#define CTL_DEFAULT_SOCKET "/run/rasad/rasad.sock"

/* What runs: the server in a few lines, and its tables. */
int status_main(int argc, char *argv[]);
int plugins_main(int argc, char *argv[]);
int metrics_main(int argc, char *argv[]);
int agents_main(int argc, char *argv[]);
int series_main(int argc, char *argv[]);

/* The agents and their rates, anew each second. */
int top_main(int argc, char *argv[]);

/* Samples as they come, and what becomes of them. */
int tail_main(int argc, char *argv[]);

/* Sends samples and tells what became of each. */
int send_main(int argc, char *argv[]);

/* What a reload would do, and a reload. */
int plan_main(int argc, char *argv[]);
int reload_main(int argc, char *argv[]);

/* Another version takes the running one's place. */
int upgrade_main(int argc, char *argv[]);

/* A backup of a running server's state, and a state folder out of one. */
int dump_main(int argc, char *argv[]);
int restore_main(int argc, char *argv[]);

/* Writes a folder with a metric plugin of one's own to begin with. */
int new_plugin_main(int argc, char *argv[]);

/* Checks a plugin against the laws, or a conf. */
int check_main(int argc, char *argv[]);
