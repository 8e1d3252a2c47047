/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any bytes as what a stream's file has become: the spool must open, hand out only whole messages
 * with rising numbers, and go on: what is taken then is there when it is opened again. The first
 * byte says how much of a proper file is in front of the others.
 */
#include <assert.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/scoped.h"
#include "journal.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length);

static char path[] = "/tmp/rasad-fuzz-XXXXXX";
static struct log silent = {.fd = -1};

static struct journal_place place(void)
{
    return (struct journal_place){.folder = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC),
                                  .path = strdup(path),
                                  .agent = "a",
                                  .server = "s:1",
                                  .segment_bytes = 4096,
                                  .log = &silent};
}

static void empty_folder(void)
{
    DIR *folder = opendir(path);
    const struct dirent *file;

    assert(folder != NULL);
    while ((file = readdir(folder)) != NULL) {
        if (file->d_name[0] != '.')
            (void)unlinkat(dirfd(folder), file->d_name, 0);
    }
    (void)closedir(folder);
}

static void leave(void)
{
    empty_folder();
    (void)rmdir(path);
}

/* A file with a head and three groups, made once. */
static const struct text *proper_file(void)
{
    static struct text file;
    struct journal journal = {0};
    struct rasad_error error;
    struct journal_place where;
    char name[SEGMENT_NAME_LENGTH];
    int fd;

    if (file.length > 0)
        return &file;
    assert(mkdtemp(path) != NULL);
    (void)atexit(leave);
    where = place();
    assert(journal_open(&journal, &where, &error));
    for (uint64_t i = 1; i <= 3; i++) {
        assert(journal_stage_message(&journal, i, "{\"n\":1}", 7));
        assert(journal_commit(&journal, &error));
        journal_publish(&journal);
    }
    segment_name(1, 1, name);
    fd = openat(journal.place.folder, name, O_RDONLY | O_CLOEXEC);
    assert(fd >= 0 && text_reserve(&file, 4096));
    file.length = (size_t)pread(fd, file.at, 4096, 0);
    (void)close(fd);
    journal_close(&journal);
    return &file;
}

/* Reads all there is; returns how many messages. */
static size_t read_all(const struct journal *journal, const char *last, size_t last_length)
{
    struct journal_reader reader = {0};
    size_t count = 0;
    bool found = last == NULL;
    const char *bytes;
    struct entry entry;
    uint32_t chain;
    uint64_t before;

    assert(journal_seek(journal, journal_first(journal), &reader, &chain) == JOURNAL_FOUND);
    before = reader.number;
    while (journal_read(journal, &reader, &entry, &bytes)) {
        assert(entry.number >= before && reader.number == entry.number + 1);
        before = reader.number;
        count += entry.kind == ENTRY_MESSAGE;
        found =
            entry.length == last_length && last != NULL && memcmp(bytes, last, last_length) == 0;
    }
    assert(found || last == NULL);
    assert(reader.number <= journal_end(journal)->next);
    journal_reader_free(&reader);
    return count;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
    const struct text *proper = proper_file();
    size_t kept = length > 0 ? bytes[0] * proper->length / 255 : 0;
    struct journal journal = {0};
    struct journal_place where;
    struct rasad_error error;
    char name[SEGMENT_NAME_LENGTH];
    int fd;

    empty_folder();
    where = place();
    segment_name(1, 1, name);
    fd = openat(where.folder, name, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    assert(fd >= 0 && write(fd, proper->at, kept) == (ssize_t)kept);
    if (length > 1)
        assert(write(fd, bytes + 1, length - 1) == (ssize_t)(length - 1));
    (void)close(fd);
    if (journal_open(&journal, &where, &error)) {
        size_t count = read_all(&journal, NULL, 0);

        assert(journal_stage_message(&journal, 9, "{\"last\":1}", 10));
        assert(journal_commit(&journal, &error));
        journal_publish(&journal);
        journal_close(&journal);
        where = place();
        assert(journal_open(&journal, &where, &error));
        assert(read_all(&journal, "{\"last\":1}", 10) == count + 1);
    }
    journal_close(&journal);
    return 0;
}
