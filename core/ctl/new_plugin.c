/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rasadctl new-plugin: writes a folder with all that a metric plugin of one's own needs, out of the
 * templates that are installed with us. In their names and in their text a placeholder stands for
 * the plugin's name; their licence lines are left out, since what is written is its author's.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <unistd.h>

#include "base/install.h"
#include "base/module.h"
#include "base/scoped.h"
#include "base/text.h"
#include "ctl.h"

#define PLACEHOLDER "YOURS"
#define COMMON "common" /* what all kinds have */

/* A line that begins with so many blanks goes on in the bracket of the line before. */
#define CONTINUATION 12

struct kit {
    const char *name; /* the plugin's */
    const char *like; /* the template's folder */
    const char *into; /* where NAME/ is to be; NULL: here */
    char folder[PATH_MAX];
    int fd; /* of that folder, once it is made */
};

static void closedir_at(DIR *const *folder)
{
    if (*folder != NULL)
        (void)closedir(*folder);
}

/* ---- Filling in ---------------------------------------------------------------------------- */

/* Adds the bytes with the name in every placeholder's place; returns how many there were. */
static size_t add_named(struct text *out, const char *bytes, size_t length, const char *name)
{
    const char *end = bytes + length, *found;
    size_t count = 0;

    while ((found = memmem(bytes, (size_t)(end - bytes), PLACEHOLDER, strlen(PLACEHOLDER)))) {
        text_add(out, bytes, (size_t)(found - bytes));
        text_add_string(out, name);
        bytes = found + strlen(PLACEHOLDER);
        count++;
    }
    text_add(out, bytes, (size_t)(end - bytes));
    return count;
}

/* Adds a line. If it goes on in a bracket it is moved as far as the name has moved the bracket:
 * `*shift` columns, which the line before left there. */
static void add_line(struct text *out, const char *line, size_t length, const char *name,
                     long *shift)
{
    size_t blanks = strspn(line, " ");

    if (memmem(line, length, "SPDX-License-Identifier", 23) != NULL)
        return;
    if (blanks >= CONTINUATION) {
        text_printf(out, "%*s", (int)((long)blanks + *shift), "");
        (void)add_named(out, line + blanks, length - blanks, name);
        return;
    }
    *shift =
        (long)add_named(out, line, length, name) * ((long)strlen(name) - (long)strlen(PLACEHOLDER));
}

static void fill(struct text *out, struct text *template, const char *name)
{
    long shift = 0;

    for (const char *line = text_end(template); *line != '\0';) {
        size_t length = strcspn(line, "\n");

        length += line[length] == '\n';
        add_line(out, line, length, name, &shift);
        line += length;
    }
}

/* ---- Files --------------------------------------------------------------------------------- */

static bool read_whole(int folder, const char *name, struct text *content,
                       struct rasad_error *error)
{
    SCOPED(close_at) int fd = openat(folder, name, O_RDONLY | O_CLOEXEC);
    ssize_t got = fd < 0 ? -1 : 1;
    char buffer[4096];

    while (got > 0) {
        got = read(fd, buffer, sizeof buffer);
        if (got > 0)
            text_add(content, buffer, (size_t)got);
    }
    if (got < 0)
        return rasad_fail(error, "cannot read %s: %s", name, strerror(errno));
    return !content->failed || rasad_fail_memory(error);
}

static bool write_whole(int folder, const char *name, struct text *content,
                        struct rasad_error *error)
{
    SCOPED(close_at)
    int fd = openat(folder, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0666);
    const char *at = text_end(content);
    size_t left = content->length;

    if (content->failed)
        return rasad_fail_memory(error);
    while (fd >= 0 && left > 0) {
        ssize_t put = write(fd, at, left);

        if (put < 0)
            break;
        at += put;
        left -= (size_t)put;
    }
    if (fd < 0 || left > 0)
        return rasad_fail(error, "cannot write %s: %s", name, strerror(errno));
    return true;
}

static bool write_one(const struct kit *kit, int templates, const char *name,
                      struct rasad_error *error)
{
    SCOPED(text_free) struct text template = {0}, content = {0}, target = {0};

    (void)add_named(&target, name, strlen(name), kit->name);
    if (!read_whole(templates, name, &template, error))
        return false;
    fill(&content, &template, kit->name);
    return write_whole(kit->fd, text_end(&target), &content, error);
}

/* Writes all that one folder of the templates has. */
static bool write_folder(const struct kit *kit, const char *which, struct rasad_error *error)
{
    SCOPED(closedir_at) DIR *templates = NULL;
    const struct dirent *entry;
    char relative[128], path[PATH_MAX];

    (void)snprintf(relative, sizeof relative, "%s/%s", RASAD_TEMPLATE_DIR, which);
    if (!install_path(relative, path, error))
        return false;
    if ((templates = opendir(path)) == NULL)
        return rasad_fail(error, "%s: %s (is rasad-dev installed?)", path, strerror(errno));
    while ((entry = readdir(templates)) != NULL) {
        if (entry->d_name[0] != '.' && !write_one(kit, dirfd(templates), entry->d_name, error))
            return false;
    }
    return true;
}

/* Removes the folder that we made, with what is in it, all of which is ours. */
static void undo(const struct kit *kit)
{
    SCOPED(closedir_at) DIR *folder = opendir(kit->folder);
    const struct dirent *entry;

    while (folder != NULL && (entry = readdir(folder)) != NULL)
        (void)unlinkat(kit->fd, entry->d_name, 0); /* which "." and ".." mind not */
    (void)rmdir(kit->folder);
}

/* Makes the folder: all of it or, on false, nothing. */
static bool write_kit(struct kit *kit, struct rasad_error *error)
{
    SCOPED(close_at) int fd = -1;

    if (snprintf(kit->folder, sizeof kit->folder, "%s%s%s", kit->into != NULL ? kit->into : "",
                 kit->into != NULL ? "/" : "", kit->name) >= (int)sizeof kit->folder)
        return rasad_fail(error, "the path of the folder is too long");
    if (mkdir(kit->folder, 0777) != 0)
        return rasad_fail(error, "%s: %s (nothing was written)", kit->folder,
                          errno == EEXIST ? "exists already" : strerror(errno));
    fd = open(kit->folder, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    kit->fd = fd;
    if (fd >= 0 && write_folder(kit, COMMON, error) && write_folder(kit, kit->like, error))
        return true;
    if (fd < 0)
        (void)rasad_fail(error, "%s: %s", kit->folder, strerror(errno));
    undo(kit);
    return false;
}

/* ---- The command line ---------------------------------------------------------------------- */

static bool check_name(const char *name, struct rasad_error *error)
{
    char folder[PATH_MAX], path[PATH_MAX];
    const char *const folders[] = {folder};

    if (!module_is_name(name) || strlen(name) >= MODULE_NAME_LENGTH)
        return rasad_fail(error,
                          "\"%s\" can't be a plugin's name (write a letter, then letters, digits "
                          "and _, all lower case, %d at most)",
                          name, MODULE_NAME_LENGTH - 1);
    if (install_path(RASAD_PLUGIN_DIR, folder, error) && module_find(folders, 1, name, path))
        return rasad_fail(error, "there is a plugin \"%s\" already, %s (choose another name)", name,
                          path);
    return true;
}

static bool check_like(const char *like, struct rasad_error *error)
{
    static const char *const kinds[] = {"gauge", "counter", "histogram"};

    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        if (strcmp(like, kinds[i]) == 0)
            return true;
    }
    return rasad_fail(error, "nothing is like \"%s\" (write gauge, counter or histogram)", like);
}

static void print_help(FILE *to)
{
    (void)fputs("usage: rasadctl new-plugin NAME [--like gauge|counter|histogram] [--into FOLDER]\n"
                "Writes FOLDER/NAME with a metric plugin that compiles and passes its test.\n",
                to);
}

/* Reads the arguments; false after it has said what is wrong. */
static bool read_arguments(int argc, char *argv[], struct kit *kit, bool *help)
{
    static const struct option options[] = {
        {"like", required_argument, NULL, 'l'},
        {"into", required_argument, NULL, 'i'},
        {"help", no_argument, NULL, 'h'},
        {0},
    };
    struct rasad_error error;
    int option;

    optind = 0; /* whoever read the arguments before the verb may have used getopt, too */
    while ((option = getopt_long(argc, argv, "h", options, NULL)) != -1) {
        if (option == 'l')
            kit->like = optarg;
        else if (option == 'i')
            kit->into = optarg;
        else if ((*help = option == 'h'))
            return true;
        else
            return false;
    }
    if (argc - optind != 1) {
        print_help(stderr);
        return false;
    }
    kit->name = argv[optind];
    if (check_name(kit->name, &error) && check_like(kit->like, &error))
        return true;
    (void)fprintf(stderr, "rasadctl: %s\n", error.text);
    return false;
}

int new_plugin_main(int argc, char *argv[])
{
    struct kit kit = {.like = "gauge"};
    struct rasad_error error;
    bool help = false;

    if (!read_arguments(argc, argv, &kit, &help))
        return EX_USAGE;
    if (help) {
        print_help(stdout);
        return EX_OK;
    }
    if (!write_kit(&kit, &error)) {
        (void)fprintf(stderr, "rasadctl: %s\n", error.text);
        return EXIT_FAILURE;
    }
    (void)printf("%s: a metric plugin like %s, which compiles and passes its tests. Next:\n"
                 "  cd %s && make check    compile it and run them\n"
                 "  change %s.c, and make check again\n"
                 "  README.md says how the server gets it\n",
                 kit.folder, kit.like, kit.folder, kit.name);
    return EXIT_SUCCESS;
}
