/* SPDX-License-Identifier: Apache-2.0 */
#include "base/module.h"

#include <dirent.h>
#include <dlfcn.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/nearest.h"
#include "base/scoped.h"

/* Since Linux 6.3, and in headers as late. */
#ifndef MFD_EXEC
#define MFD_EXEC 0x10U
#endif

/* A shared object beyond this is a mistake. */
#define MODULE_MAX_BYTES (32L << 20)

/* The kind of note that carries the ABI number. */
#define NOTE_ABI 1

static bool check_file(int fd, struct rasad_error *error, off_t *size)
{
    struct stat file;

    if (fstat(fd, &file) != 0)
        return rasad_fail(error, "cannot look at it: %s", strerror(errno));
    if (!S_ISREG(file.st_mode))
        return rasad_fail(error, "no regular file");
    if (file.st_uid != 0 && file.st_uid != geteuid())
        return rasad_fail(error, "owned by uid %u (make it root's or uid %u's)",
                          (unsigned)file.st_uid, (unsigned)geteuid());
    if ((file.st_mode & (S_IWGRP | S_IWOTH)) != 0)
        return rasad_fail(error, "writable by others (chmod go-w)");
    if (file.st_size > MODULE_MAX_BYTES)
        return rasad_fail(error, "larger than 32 MiB");
    *size = file.st_size;
    return true;
}

/* A sealed memory file with the first `size` bytes of `from`; -1 with errno set if it fails. */
static int copy_sealed(int from, off_t size, const char *name)
{
    SCOPED(close_at) int fd = -1;
    off_t offset = 0;

    fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_EXEC);
    if (fd < 0 && errno == EINVAL)
        fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0)
        return -1;
    while (offset < size) {
        char buffer[1 << 16];
        ssize_t got = pread(from, buffer, sizeof buffer, offset);

        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            break; /* it shrank meanwhile; the look at the ELF header tells */
        for (ssize_t put = 0; put < got;) {
            ssize_t n = write(fd, buffer + put, (size_t)(got - put));

            if (n < 0 && errno != EINTR)
                return -1;
            put += n > 0 ? n : 0;
        }
        offset += got;
    }
    if (fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL) != 0)
        return -1;
    return take_fd(&fd);
}

/* Whether [offset, offset + length) lies within the file. */
static bool inside(uint64_t size, uint64_t offset, uint64_t length)
{
    return offset <= size && length <= size - offset;
}

/* Looks through one note segment for ours; true if found. */
static bool find_abi(const char *notes, uint64_t size, const char *owner, uint32_t *abi)
{
    uint32_t owner_size = (uint32_t)strlen(owner) + 1;

    for (uint64_t at = 0; inside(size, at, sizeof(ElfW(Nhdr)));) {
        ElfW(Nhdr) note;
        uint64_t name_at = at + sizeof note, value_at;

        memcpy(&note, notes + at, sizeof note);
        value_at = name_at + ((note.n_namesz + UINT64_C(3)) & ~UINT64_C(3));
        if (!inside(size, name_at, note.n_namesz) || !inside(size, value_at, note.n_descsz))
            return false;
        if (note.n_namesz == owner_size && memcmp(notes + name_at, owner, owner_size) == 0 &&
            note.n_type == NOTE_ABI && note.n_descsz == sizeof *abi) {
            memcpy(abi, notes + value_at, sizeof *abi);
            return true;
        }
        at = value_at + ((note.n_descsz + UINT64_C(3)) & ~UINT64_C(3));
    }
    return false;
}

/* What we must know of an object, as data. */
struct look {
    const char *bytes;
    uint64_t size;
    const char *note_owner;
    bool has_note;
    uint32_t abi;
};

/* Looks at flags that would do harm in a process that goes on: glibc never unloads a NODELETE, and
 * static TLS comes out of a small reserve. */
static bool check_dynamic(const struct look *look, const ElfW(Phdr) * segment,
                          struct rasad_error *error)
{
    for (uint64_t at = 0; inside(segment->p_filesz, at, sizeof(ElfW(Dyn)));
         at += sizeof(ElfW(Dyn))) {
        ElfW(Dyn) entry;

        memcpy(&entry, look->bytes + segment->p_offset + at, sizeof entry);
        if (entry.d_tag == DT_NULL)
            return true;
        if (entry.d_tag == DT_FLAGS_1 && (entry.d_un.d_val & DF_1_NODELETE) != 0)
            return rasad_fail(error, "made never to be unloaded (link it without -z nodelete)");
        if (entry.d_tag == DT_FLAGS && (entry.d_un.d_val & DF_STATIC_TLS) != 0)
            return rasad_fail(error,
                              "has thread-local variables of the static kind, for which a running "
                              "process may have no room (do without them)");
    }
    return true;
}

static bool check_segment(struct look *look, const ElfW(Phdr) * segment, struct rasad_error *error)
{
    if (segment->p_type != PT_LOAD && segment->p_type != PT_NOTE && segment->p_type != PT_DYNAMIC)
        return true;
    if (!inside(look->size, segment->p_offset, segment->p_filesz))
        return rasad_fail(error, "the file is cut short");
    if (segment->p_type == PT_DYNAMIC)
        return check_dynamic(look, segment, error);
    if (segment->p_type == PT_NOTE && !look->has_note)
        look->has_note = find_abi(look->bytes + segment->p_offset, segment->p_filesz,
                                  look->note_owner, &look->abi);
    return true;
}

/* Our own look at the object, as data: whether it is whole, for this machine, and of which ABI. */
static bool check_elf(const char *bytes, uint64_t size, const struct module_kind *kind,
                      struct rasad_error *error)
{
    struct look look = {.bytes = bytes, .size = size, .note_owner = kind->note_owner};
    ElfW(Ehdr) head;

    if (size < sizeof head)
        return rasad_fail(error, "no shared object");
    memcpy(&head, bytes, sizeof head);
    if (memcmp(head.e_ident, ELFMAG, SELFMAG) != 0 || head.e_type != ET_DYN)
        return rasad_fail(error, "no shared object");
    if (head.e_ident[EI_CLASS] != (sizeof(void *) == 8 ? ELFCLASS64 : ELFCLASS32) ||
        head.e_phentsize != sizeof(ElfW(Phdr)))
        return rasad_fail(error, "made for another kind of machine");
    for (unsigned i = 0; i < head.e_phnum; i++) {
        ElfW(Phdr) segment;

        if (!inside(size, head.e_phoff, (i + UINT64_C(1)) * sizeof segment))
            return rasad_fail(error, "the file is cut short");
        memcpy(&segment, bytes + head.e_phoff + i * sizeof segment, sizeof segment);
        if (!check_segment(&look, &segment, error))
            return false;
    }
    if (!look.has_note)
        return rasad_fail(error, "no Rasad %s (it has no \"%s\" note)", kind->what,
                          kind->note_owner);
    if (look.abi != kind->abi)
        return rasad_fail(error, "made for %s ABI %u, but this is ABI %u (compile it anew)",
                          kind->what, look.abi, kind->abi);
    return true;
}

static bool check_copy(int fd, const struct module_kind *kind, struct rasad_error *error)
{
    struct stat file;
    void *bytes;
    bool fine;

    if (fstat(fd, &file) != 0)
        return rasad_fail(error, "cannot look at its copy: %s", strerror(errno));
    if (file.st_size == 0)
        return rasad_fail(error, "the file is empty");
    bytes = mmap(NULL, (size_t)file.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (bytes == MAP_FAILED)
        return rasad_fail(error, "cannot map its copy: %s", strerror(errno));
    fine = check_elf(bytes, (uint64_t)file.st_size, kind, error);
    (void)munmap(bytes, (size_t)file.st_size);
    return fine;
}

#define COPY_PATH_LENGTH 64

/* By number of process, not "self", so that a debugger finds the symbols too. */
static void copy_path(const struct module *module, char path[COPY_PATH_LENGTH])
{
    (void)snprintf(path, COPY_PATH_LENGTH, "/proc/%ld/fd/%d", (long)getpid(), module->fd);
}

/* glibc's text without the name of our copy, which would tell the user nothing. */
static const char *loader_text(const char *copy)
{
    const char *text = dlerror();
    size_t length = strlen(copy);

    if (text == NULL)
        return "unknown error";
    if (strncmp(text, copy, length) == 0 && strncmp(text + length, ": ", 2) == 0)
        return text + length + 2;
    return text;
}

bool module_load(struct module *module, const struct module_kind *kind, struct rasad_error *error)
{
    char copy[COPY_PATH_LENGTH];

    copy_path(module, copy);
    module->handle = dlopen(copy, RTLD_NOW | RTLD_LOCAL);
    if (module->handle == NULL)
        return rasad_fail(error, "cannot be loaded: %s", loader_text(copy));
    module->symbol = dlsym(module->handle, kind->symbol);
    if (module->symbol == NULL)
        return rasad_fail(error, "no Rasad %s (it exports no %s)", kind->what, kind->symbol);
    return true;
}

/* How the copy is called in /proc/PID/maps. */
static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash != NULL ? slash + 1 : path;
}

/* Opens the file in a folder in which not everybody may put another in its place; -1 if it can't be
 * opened, or is not to be. */
static int open_file(const char *path, struct rasad_error *error)
{
    SCOPED(close_at) int folder = -1;
    const char *slash = strrchr(path, '/');
    struct stat found;
    char name[PATH_MAX];
    int fd;

    (void)snprintf(name, sizeof name, "%.*s", slash != NULL ? (int)(slash - path) + 1 : 1,
                   slash != NULL ? path : ".");
    folder = open(name, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (folder >= 0 && fstat(folder, &found) == 0 && (found.st_mode & S_IWOTH) != 0 &&
        (found.st_mode & S_ISVTX) == 0) {
        (void)rasad_fail(error, "lies in a folder that all may write to (chmod o-w %s)", name);
        return -1;
    }
    fd = folder < 0 ? -1
                    : openat(folder, slash != NULL ? slash + 1 : path,
                             O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        (void)rasad_fail(error, "%s",
                         errno == ELOOP ? "a symbolic link (put the file itself there)"
                                        : strerror(errno));
    return fd;
}

static bool take_checked(const char *path, const struct module_kind *kind, struct module *module,
                         struct rasad_error *error)
{
    SCOPED(close_at) int fd = open_file(path, error);
    off_t size = 0;

    if (fd < 0 || !check_file(fd, error, &size))
        return false;
    module->fd = copy_sealed(fd, size, base_name(path));
    if (module->fd < 0 && (errno == EACCES || errno == EPERM))
        return rasad_fail(error,
                          "the kernel gives no memory that may be executed, for a private copy of "
                          "it (sysctl vm.memfd_noexec=1, or 0)");
    if (module->fd < 0)
        return rasad_fail(error, "cannot make a private copy: %s", strerror(errno));
    return check_copy(module->fd, kind, error);
}

bool module_take(const char *path, const struct module_kind *kind, struct module *module,
                 struct rasad_error *error)
{
    struct module taken = {.fd = -1};

    if (!take_checked(path, kind, &taken, error)) {
        (void)module_close(&taken);
        return rasad_fail_at(error, "%s", path);
    }
    *module = taken;
    return true;
}

bool module_adopt(int fd, const struct module_kind *kind, struct module *module,
                  struct rasad_error *error)
{
    struct module adopted = {.fd = fd};

    if (!check_copy(fd, kind, error)) {
        (void)module_close(&adopted);
        return false;
    }
    *module = adopted;
    return true;
}

bool module_open(const char *path, const struct module_kind *kind, struct module *module,
                 struct rasad_error *error)
{
    struct module opened;

    if (!module_take(path, kind, &opened, error))
        return false;
    if (!module_load(&opened, kind, error)) {
        (void)module_close(&opened);
        return rasad_fail_at(error, "%s", path);
    }
    *module = opened;
    return true;
}

bool module_is_same(const struct module *module, const struct module *other)
{
    char mine[1 << 14], others[1 << 14];
    off_t offset = 0;

    for (;;) {
        ssize_t got = pread(module->fd, mine, sizeof mine, offset);
        ssize_t wanted = pread(other->fd, others, sizeof others, offset);

        if (got < 0 || got != wanted || memcmp(mine, others, (size_t)got) != 0)
            return false;
        if (got == 0)
            return true;
        offset += got;
    }
}

/* Whether the loader keeps an object after dlclose(): one with unique symbols or destructors of
 * thread-local variables (C++, Rust). */
static bool stays_mapped(const struct module *module)
{
    char copy[COPY_PATH_LENGTH];
    void *handle;

    copy_path(module, copy);
    handle = dlopen(copy, RTLD_LAZY | RTLD_NOLOAD);
    if (handle == NULL)
        return false;
    (void)dlclose(handle);
    return true;
}

bool module_close(struct module *module)
{
    bool gone = true;

    if (module->handle != NULL) {
        (void)dlclose(module->handle);
        gone = !stays_mapped(module);
    }
    if (gone)
        close_at(&module->fd);
    *module = (struct module){.fd = -1};
    return gone;
}

bool module_is_name(const char *name)
{
    return name != NULL && name[0] >= 'a' && name[0] <= 'z' &&
           name[strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_")] == '\0';
}

bool module_find(const char *const *folders, size_t count, const char *name, char path[PATH_MAX])
{
    for (size_t i = 0; i < count && module_is_name(name); i++) {
        if (snprintf(path, PATH_MAX, "%s/%s.so", folders[i], name) < PATH_MAX &&
            access(path, F_OK) == 0)
            return true;
    }
    return false;
}

/* Puts a folder's module into `nearest` if it is more like `name` than what stands there. */
static void look_for_nearest(const char *path, const char *name, char nearest[MODULE_NAME_LENGTH])
{
    DIR *folder = opendir(path);
    const struct dirent *entry;

    while (folder != NULL && (entry = readdir(folder)) != NULL) {
        char candidate[MODULE_NAME_LENGTH];
        const char *const candidates[] = {nearest[0] != '\0' ? nearest : candidate, candidate};
        size_t length = strlen(entry->d_name);

        if (length < 4 || length - 3 >= sizeof candidate ||
            strcmp(entry->d_name + length - 3, ".so") != 0)
            continue;
        memcpy(candidate, entry->d_name, length - 3);
        candidate[length - 3] = '\0';
        if (nearest_word(name, candidates, 2) == candidate)
            memcpy(nearest, candidate, length - 2);
    }
    if (folder != NULL)
        (void)closedir(folder);
}

void module_nearest(const char *const *folders, size_t count, const char *name,
                    char nearest[MODULE_NAME_LENGTH])
{
    nearest[0] = '\0';
    for (size_t i = 0; i < count; i++)
        look_for_nearest(folders[i], name, nearest);
}
