/* SPDX-License-Identifier: Apache-2.0 */
#include "arguments.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/number.h"
#include "base/utf8.h"
#include "ctl.h"

static const struct option options[] = {
    {"socket", required_argument, NULL, 'S'},
    {"help", no_argument, NULL, 'h'},
    {"json", no_argument, NULL, 'j'},
    {"agent", required_argument, NULL, 'a'},
    {"key", required_argument, NULL, 'k'},
    {"rejected", no_argument, NULL, 'r'},
    {"count", required_argument, NULL, 'n'},
    {"label", required_argument, NULL, 'l'},
    {NULL, 0, NULL, 0},
};

/* Which of them each is that not all verbs take; 0 for the others. */
static unsigned what_takes(int option)
{
    switch (option) {
    case 'j':
        return TAKES_JSON;
    case 'a':
        return TAKES_AGENT;
    case 'k':
        return TAKES_KEY;
    case 'r':
        return TAKES_REJECTED;
    case 'n':
        return TAKES_COUNT;
    case 'l':
        return TAKES_LABEL;
    default:
        return 0;
    }
}

int arguments_refuse(const struct arguments_rule *rule, const char *what, const char *which)
{
    (void)fprintf(stderr, "rasadctl: %s", what);
    if (which != NULL)
        (void)fprintf(stderr, " \"%s\"", which);
    (void)fprintf(stderr, "\n%s", rule->usage);
    return EX_USAGE;
}

static bool refuse(const struct arguments_rule *rule, struct arguments *arguments, const char *what,
                   const char *which)
{
    arguments->status = arguments_refuse(rule, what, which);
    return false;
}

static bool take_count(const struct arguments_rule *rule, struct arguments *arguments)
{
    char *end;

    arguments->count = strtol(optarg, &end, 10);
    if (*end != '\0' || arguments->count < 1)
        return refuse(rule, arguments, "-n wants a number from 1 on, not", optarg);
    return true;
}

static bool take_label(const struct arguments_rule *rule, struct arguments *arguments)
{
    if (strchr(optarg, '=') == NULL || optarg[0] == '=')
        return refuse(rule, arguments, "--label wants NAME=VALUE, not", optarg);
    if (arguments->label_count == ARGUMENTS_MOST_LABELS)
        return refuse(rule, arguments, "too many labels, beginning with", optarg);
    arguments->labels[arguments->label_count++] = optarg;
    return true;
}

static bool take_option(int option, const struct arguments_rule *rule, struct arguments *arguments)
{
    switch (option) {
    case 'S':
        (void)setenv(CTL_SOCKET_VARIABLE, optarg, 1);
        return true;
    case 'h':
        (void)fputs(rule->usage, stdout);
        arguments->status = EXIT_SUCCESS;
        return false;
    case 'j':
        arguments->json = true;
        return true;
    case 'a':
        arguments->agent = optarg;
        return true;
    case 'k':
        arguments->key = optarg;
        return true;
    case 'r':
        arguments->rejected = true;
        return true;
    case 'n':
        return take_count(rule, arguments);
    default:
        return take_label(rule, arguments);
    }
}

static bool take_operand(const char *operand, const struct arguments_rule *rule,
                         struct arguments *arguments)
{
    if (arguments->operand_count == rule->most)
        return refuse(rule, arguments, "unexpected argument", operand);
    arguments->operands[arguments->operand_count++] = operand;
    return true;
}

/* Whether getopt would take it for an option. */
static bool looks_like_option(const char *argument)
{
    return argument[0] == '-' && argument[1] != '\0' && !number_is_json(argument, strlen(argument));
}

/* All that we are told goes to the server as JSON, and JSON is UTF-8. */
static bool check_utf8(int argc, char *argv[], const struct arguments_rule *rule,
                       struct arguments *arguments)
{
    for (int i = 1; i < argc; i++) {
        if (!utf8_valid(argv[i], strlen(argv[i])))
            return refuse(rule, arguments, "an argument is no UTF-8", NULL);
    }
    return true;
}

bool arguments_read(int argc, char *argv[], const struct arguments_rule *rule,
                    struct arguments *arguments)
{
    bool only_operands = false;

    *arguments = (struct arguments){.json = false};
    if (!check_utf8(argc, argv, rule, arguments))
        return false;
    opterr = 0;
    optind = 1;
    while (optind < argc) {
        const char *argument = argv[optind];
        int option;

        if (only_operands || !looks_like_option(argument)) {
            optind++;
            if (!take_operand(argument, rule, arguments))
                return false;
            continue;
        }
        option = getopt_long(argc, argv, "+:S:hn:", options, NULL);
        if (option == -1) { /* it was "--" */
            only_operands = true;
            continue;
        }
        if (option == ':')
            return refuse(rule, arguments, "a value must follow", argument);
        if (option == '?' || (what_takes(option) & ~rule->takes) != 0)
            return refuse(rule, arguments, "unknown option", argument);
        if (!take_option(option, rule, arguments))
            return false;
    }
    return true;
}
