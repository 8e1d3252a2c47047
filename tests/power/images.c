/* SPDX-License-Identifier: Apache-2.0 */
/*
 * images: shows a checker a recorded folder as power cuts at random points may have left it.
 *
 *     images --log LOG [options] -- CHECKER [argument...]
 *
 * The checker is run as `CHECKER argument... FOLDER NOTE`: the image, which it may change, and the
 * last note before the cut ("" if none). RASAD_IMAGE_NOTES names a file with the last note of each
 * kind, one a line; the kind of "acked web-1 17" is "acked web-1". Exit code 0 means all is well.
 * README.md lists the options; disk.h describes what a power cut may do.
 *
 * Exit code 0: no image failed. 1: some did. 2: the log or the arguments are no good.
 */
#include "disk.h"
#include "log.h"

#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <getopt.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/pidfd.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

#define HUNG 1000 /* as the code of a checker that did not end */

static struct {
    const char *log, *note, *live, *keep;
    char work[PATH_MAX];
    char **checker;
    unsigned long images, seed, sector, timeout_s;
    long only;          /* this image, or -1 for all */
    double probability; /* 0: one of 0.1, 0.5, 0.9 for each image */
    bool any_names, ask, show, odd_is_fine, has_seed;
} options = {.images = 1000, .sector = 512, .timeout_s = 20, .only = -1};

static char folder[PATH_MAX + 16], notes[PATH_MAX + 16], said[PATH_MAX + 16];

/* ---- The log -------------------------------------------------------------------------------- */

struct log {
    const char *at;
    size_t length;
    size_t *starts; /* offsets of the entries */
    size_t count;
    size_t torn; /* bytes that belong to no entry */
};

static bool is_entry(const struct log *log, size_t at, struct log_head *head)
{
    uint32_t tail;

    if (log->length - at < sizeof *head)
        return false;
    memcpy(head, log->at + at, sizeof *head);
    if (head->magic != LOG_MAGIC || head->length > log->length - at ||
        head->length < sizeof *head + head->name_length + sizeof tail)
        return false;
    memcpy(&tail, log->at + at + head->length - sizeof tail, sizeof tail);
    return tail == (LOG_MAGIC ^ head->length);
}

static void read_log(struct log *log)
{
    int descriptor = open(options.log, O_RDONLY | O_CLOEXEC);
    struct stat status;
    struct log_head head;
    size_t capacity = 0;

    if (descriptor < 0 || fstat(descriptor, &status) != 0)
        err(2, "%s", options.log);
    log->length = (size_t)status.st_size;
    if (log->length == 0)
        errx(2, "%s is empty (was the recorder preloaded?)", options.log);
    log->at = mmap(NULL, log->length, PROT_READ, MAP_PRIVATE, descriptor, 0);
    if (log->at == MAP_FAILED)
        err(2, "%s", options.log);
    close(descriptor);
    for (size_t at = 0; at < log->length;) {
        if (!is_entry(log, at, &head)) {
            at++;
            log->torn++;
            continue;
        }
        if (log->count == capacity) {
            capacity = capacity ? capacity * 2 : 1024;
            log->starts = reallocarray(log->starts, capacity, sizeof *log->starts);
            if (log->starts == NULL)
                errx(2, "out of memory");
        }
        log->starts[log->count++] = at;
        at += head.length;
    }
}

static struct entry log_entry(const struct log *log, size_t index)
{
    const char *at = log->at + log->starts[index];
    struct entry entry;

    memcpy(&entry.head, at, sizeof entry.head);
    entry.name = at + sizeof entry.head;
    entry.bytes = entry.name + entry.head.name_length;
    entry.length =
        entry.head.length - sizeof entry.head - entry.head.name_length - sizeof(uint32_t);
    return entry;
}

static void show_log(const struct log *log)
{
    static const char *const kinds[] = {
        [LOG_START] = "start",
        [LOG_SNAP] = "snap",
        [LOG_SNAP_BYTES] = "snap_bytes",
        [LOG_SNAP_END] = "snap_end",
        [LOG_NOTE] = "note",
        [LOG_CREATE] = "create",
        [LOG_LINK] = "link",
        [LOG_UNLINK] = "unlink",
        [LOG_RENAME] = "rename",
        [LOG_WRITE] = "write",
        [LOG_DURABLE] = "durable",
        [LOG_SIZE] = "size",
        [LOG_ZERO] = "zero",
        [LOG_SYNC_BEGIN] = "sync(",
        [LOG_SYNC_END] = "sync)",
        [LOG_LOOSE] = "sync_file_range",
        [LOG_MAPPED] = "mapped",
        [LOG_ODD] = "odd",
    };

    for (size_t i = 0; i < log->count; i++) {
        struct entry e = log_entry(log, i);
        bool text = e.head.kind == LOG_NOTE || e.head.kind == LOG_ODD || e.head.kind == LOG_RENAME;

        printf("%zu %u %s", i, e.head.process,
               e.head.kind < sizeof kinds / sizeof *kinds && kinds[e.head.kind] != NULL
                   ? kinds[e.head.kind]
                   : "?");
        printf(" file=%llu folder=%llu a=%llu b=%llu", (unsigned long long)e.head.file,
               (unsigned long long)e.head.folder, (unsigned long long)e.head.a,
               (unsigned long long)e.head.b);
        printf(" \"%.*s\" %zu bytes%s%.*s\n", e.head.name_length, e.name, e.length,
               text ? ": " : "", text ? (int)e.length : 0, e.bytes);
    }
}

static int append_note(void)
{
    char buffer[4096];
    size_t length = strlen(options.note);
    struct log_head head = {.magic = LOG_MAGIC, .kind = LOG_NOTE};
    uint32_t tail;
    int descriptor = open(options.log, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);

    head.length = (uint32_t)(sizeof head + length + sizeof tail);
    tail = LOG_MAGIC ^ head.length;
    if (head.length > sizeof buffer)
        errx(2, "a note is too long");
    memcpy(buffer, &head, sizeof head);
    memcpy(buffer + sizeof head, options.note, length);
    memcpy(buffer + sizeof head + length, &tail, sizeof tail);
    if (descriptor < 0 || write(descriptor, buffer, head.length) != (ssize_t)head.length)
        err(2, "%s", options.log);
    return 0;
}

/* ---- Notes ---------------------------------------------------------------------------------- */

/* The last notes, in place in the log. */
struct note {
    const char *at;
    size_t length;
    size_t kind_length; /* up to its last space */
};

static struct note *last_notes;
static size_t note_count;
static struct note last_note = {.at = ""};

static void take_note(const struct entry *entry)
{
    struct note note = {entry->bytes, entry->length, entry->length};
    const char *space = memrchr(note.at, ' ', note.length);
    size_t i = 0;

    if (space != NULL)
        note.kind_length = (size_t)(space - note.at);
    while (i < note_count && (last_notes[i].kind_length != note.kind_length ||
                              memcmp(last_notes[i].at, note.at, note.kind_length) != 0))
        i++;
    if (i == note_count) {
        last_notes = reallocarray(last_notes, ++note_count, sizeof *last_notes);
        if (last_notes == NULL)
            errx(2, "out of memory");
    }
    last_notes[i] = last_note = note;
}

static void write_notes(void)
{
    FILE *out = fopen(notes, "we");

    if (out == NULL)
        err(2, "%s", notes);
    for (size_t i = 0; i < note_count; i++)
        fprintf(out, "%.*s\n", (int)last_notes[i].length, last_notes[i].at);
    if (fclose(out) != 0)
        err(2, "%s", notes);
}

/* ---- The checker ---------------------------------------------------------------------------- */

static int wait_for(pid_t pid)
{
    int descriptor = pidfd_open(pid, 0);
    struct pollfd end = {.fd = descriptor, .events = POLLIN};
    bool hung;
    int status;

    if (descriptor < 0)
        err(2, "pidfd_open");
    hung = poll(&end, 1, (int)options.timeout_s * 1000) == 0;
    if (hung)
        kill(pid, SIGKILL);
    close(descriptor);
    if (waitpid(pid, &status, 0) != pid)
        err(2, "waitpid");
    if (hung)
        return HUNG;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static int run_checker(void)
{
    static char text[4096];
    posix_spawn_file_actions_t actions;
    char *arguments[64];
    size_t n = 0;
    pid_t pid;
    int error;

    snprintf(text, sizeof text, "%.*s", (int)last_note.length, last_note.at);
    while (options.checker[n] != NULL && n < 60) {
        arguments[n] = options.checker[n];
        n++;
    }
    arguments[n++] = folder;
    arguments[n++] = text;
    arguments[n] = NULL;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, 1, said, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    posix_spawn_file_actions_adddup2(&actions, 1, 2);
    error = posix_spawnp(&pid, arguments[0], &actions, NULL, arguments, environ);
    posix_spawn_file_actions_destroy(&actions);
    if (error != 0)
        errx(2, "%s: %s", arguments[0], strerror(error));
    return wait_for(pid);
}

/* Asks whoever reads our standard output instead: a line for the image, a line back. */
static int ask_checker(unsigned long image)
{
    char answer[4096];

    printf("image\t%lu\t%s\t%.*s\n", image, folder, (int)last_note.length, last_note.at);
    fflush(stdout);
    if (fgets(answer, sizeof answer, stdin) == NULL)
        errx(2, "no answer");
    if (strcmp(answer, "ok\n") == 0)
        return 0;
    FILE *out = fopen(said, "we");
    if (out == NULL || fputs(answer, out) == EOF || fclose(out) != 0)
        err(2, "%s", said);
    return 1;
}

/* ---- Images --------------------------------------------------------------------------------- */

struct cut {
    unsigned long image;
    struct dice dice;
    size_t after; /* so many entries */
    double probability;
};

static unsigned long failed_with[HUNG + 1];
static unsigned long failed;

static int remove_one(const char *path, const struct stat *status, int kind, struct FTW *at)
{
    (void)status;
    (void)kind;
    return at->level > 0 && remove(path) != 0 ? -1 : 0;
}

static void empty_folder(void)
{
    if (mkdir(folder, 0700) != 0 && errno != EEXIST)
        err(2, "%s", folder);
    if (nftw(folder, remove_one, 16, FTW_DEPTH | FTW_PHYS) != 0)
        err(2, "cannot empty %s", folder);
}

static void print_said(void)
{
    FILE *in = fopen(said, "re");
    char line[512];

    for (int i = 0; in != NULL && i < 20 && fgets(line, sizeof line, in) != NULL; i++)
        printf("    %s", line);
    if (in != NULL)
        fclose(in);
}

static void tell_first(const struct log *log, const struct cut *cut, int code)
{
    printf("images: first failure: image %lu, cut after entry %zu of %zu, p=%g, note \"%.*s\", "
           "checker %s%d (again: --seed %lu --images %lu --image %lu)\n",
           cut->image, cut->after, log->count, cut->probability, (int)last_note.length,
           last_note.at, code == HUNG ? "hung, code " : "ended with ", code, options.seed,
           options.images, cut->image);
    print_said();
    fflush(stdout);
}

/* The image as it was before the checker touched it. */
static void keep_image(struct disk *disk, const struct cut *cut)
{
    struct dice again = cut->dice;

    if (options.keep == NULL)
        return;
    if (mkdir(options.keep, 0700) != 0 && errno != EEXIST)
        err(2, "%s", options.keep);
    disk_image(disk, &again, cut->probability, options.any_names, options.keep);
}

static void try_image(struct disk *disk, const struct log *log, struct cut *cut)
{
    struct dice dice = cut->dice;
    int code;

    empty_folder();
    disk_image(disk, &dice, cut->probability, options.any_names, folder);
    write_notes();
    code = options.ask ? ask_checker(cut->image) : run_checker();
    if (code == 0)
        return;
    failed_with[code]++;
    if (failed++ > 0)
        return;
    tell_first(log, cut, code);
    keep_image(disk, cut);
}

static int by_place(const void *a, const void *b)
{
    const struct cut *x = a;
    const struct cut *y = b;

    if (x->after != y->after)
        return x->after < y->after ? -1 : 1;
    return x->image < y->image ? -1 : x->image > y->image;
}

/* What each image is like follows from the seed and its number only. */
static struct cut *choose_cuts(const struct log *log)
{
    static const double probabilities[] = {0.1, 0.5, 0.9};
    struct cut *cuts = calloc(options.images, sizeof *cuts);
    size_t first = 0;

    if (cuts == NULL)
        errx(2, "out of memory");
    while (first < log->count && log_entry(log, first).head.kind != LOG_SNAP_END)
        first++;
    if (first == log->count)
        errx(2, "%s holds no complete snapshot of the folder", options.log);
    for (unsigned long i = 0; i < options.images; i++) {
        struct cut *cut = &cuts[i];

        cut->image = i;
        cut->dice.state = options.seed * 0x2545f4914f6cdd1du + i;
        cut->dice.state = dice_roll(&cut->dice);
        cut->after = first + 1 + dice_below(&cut->dice, log->count - first);
        cut->probability = probabilities[dice_below(&cut->dice, 3)];
        if (options.probability > 0)
            cut->probability = options.probability;
    }
    qsort(cuts, options.images, sizeof *cuts, by_place);
    return cuts;
}

static void take_entries(struct disk *disk, const struct log *log, size_t *taken, size_t until)
{
    for (; *taken < until; (*taken)++) {
        struct entry entry = log_entry(log, *taken);

        if (entry.head.kind == LOG_NOTE)
            take_note(&entry);
        else
            disk_take(disk, &entry, *taken);
    }
}

static void tell_result(const struct log *log, const struct disk *disk, unsigned long tried)
{
    printf("images: tried=%lu failed=%lu seed=%lu entries=%zu healed=%llu torn=%zu", tried, failed,
           options.seed, log->count, (unsigned long long)disk_healed_bytes(disk), log->torn);
    for (int code = 1; code <= HUNG; code++)
        if (failed_with[code] > 0)
            printf(" code_%d=%lu", code, failed_with[code]);
    printf("\n");
}

static int run(void)
{
    struct log log = {0};
    struct disk *disk = disk_new(options.sector);
    struct cut *cuts;
    size_t taken = 0;
    unsigned long tried = 0;
    unsigned differences = 0;
    bool good;

    read_log(&log);
    if (options.show) {
        show_log(&log);
        return 0;
    }
    cuts = choose_cuts(&log);
    for (unsigned long i = 0; i < options.images; i++) {
        if (options.only >= 0 && cuts[i].image != (unsigned long)options.only)
            continue;
        take_entries(disk, &log, &taken, cuts[i].after);
        try_image(disk, &log, &cuts[i]);
        tried++;
    }
    take_entries(disk, &log, &taken, log.count);
    if (options.live != NULL)
        differences = disk_compare(disk, options.live);
    tell_result(&log, disk, tried);
    good = differences == 0 && (options.odd_is_fine || !disk_is_odd(disk));
    disk_free(disk);
    free(cuts);
    free(log.starts);
    if (!good)
        return 2;
    return failed > 0;
}

/* ---- Arguments ------------------------------------------------------------------------------ */

static void make_work(void)
{
    if (options.work[0] == '\0') {
        snprintf(options.work, sizeof options.work, "%s/rasad-images-XXXXXX",
                 access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
        if (mkdtemp(options.work) == NULL)
            err(2, "%s", options.work);
    } else if (mkdir(options.work, 0700) != 0 && errno != EEXIST) {
        err(2, "%s", options.work);
    }
    snprintf(folder, sizeof folder, "%s/image", options.work);
    snprintf(notes, sizeof notes, "%s/notes", options.work);
    snprintf(said, sizeof said, "%s/said", options.work);
    setenv("RASAD_IMAGE_NOTES", notes, 1);
}

static void remove_work(void)
{
    empty_folder();
    rmdir(folder);
    unlink(notes);
    unlink(said);
    rmdir(options.work);
}

static unsigned long number(const char *text)
{
    char *end;
    unsigned long value = strtoul(text, &end, 10);

    if (*text == '\0' || *end != '\0')
        errx(2, "\"%s\" is no number", text);
    return value;
}

static void take_option(int option)
{
    switch (option) {
    case 'l':
        options.log = optarg;
        break;
    case 'N':
        options.note = optarg;
        break;
    case 'n':
        options.images = number(optarg);
        break;
    case 's':
        options.seed = number(optarg);
        options.has_seed = true;
        break;
    case 'i':
        options.only = (long)number(optarg);
        break;
    case 'b':
        options.sector = number(optarg);
        break;
    case 'p':
        options.probability = strtod(optarg, NULL);
        break;
    case 't':
        options.timeout_s = number(optarg);
        break;
    case 'w':
        snprintf(options.work, sizeof options.work, "%s", optarg);
        break;
    case 'k':
        options.keep = optarg;
        break;
    case 'L':
        options.live = optarg;
        break;
    case 'a':
        options.ask = true;
        break;
    case 'S':
        options.show = true;
        break;
    case 'o':
        options.odd_is_fine = true;
        break;
    case 'D':
        options.any_names = strcmp(optarg, "any") == 0;
        if (!options.any_names && strcmp(optarg, "ordered") != 0)
            errx(2, "--names is ordered or any");
        break;
    default:
        exit(2);
    }
}

int main(int count, char **arguments)
{
    static const struct option known[] = {
        {"log", 1, NULL, 'l'},  {"note", 1, NULL, 'N'},    {"images", 1, NULL, 'n'},
        {"seed", 1, NULL, 's'}, {"image", 1, NULL, 'i'},   {"sector", 1, NULL, 'b'},
        {"p", 1, NULL, 'p'},    {"timeout", 1, NULL, 't'}, {"work", 1, NULL, 'w'},
        {"keep", 1, NULL, 'k'}, {"live", 1, NULL, 'L'},    {"ask", 0, NULL, 'a'},
        {"show", 0, NULL, 'S'}, {"odd-ok", 0, NULL, 'o'},  {"names", 1, NULL, 'D'},
        {NULL, 0, NULL, 0},
    };
    int option;
    int code;

    while ((option = getopt_long(count, arguments, "+", known, NULL)) != -1)
        take_option(option);
    options.checker = arguments + optind;
    if (options.log == NULL || (optind == count && !options.ask && !options.show && !options.note))
        errx(2, "wants --log LOG and, after --, a checker (README.md tells more)");
    if (options.note != NULL)
        return append_note();
    if (!options.has_seed && getrandom(&options.seed, 4, 0) != 4)
        err(2, "getrandom");
    if (options.sector < 512 || options.sector > 65536 || (options.sector & (options.sector - 1)))
        errx(2, "--sector is a power of two, 512 at least");
    make_work();
    code = run();
    remove_work();
    return code;
}
