/* SPDX-License-Identifier: BSD-2-Clause */
#include "server/offline.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/mem.h"
#include "core/core.h"
#include "server/verify.h"
#include "store/store.h"

#define COMMIT_BYTES ((size_t)1 << 20)

/* ---------------------------------------------------------------- writing */

struct thing {
    uint64_t id;
    bool is_group;
};

struct writing {
    struct core *core;
    struct store *store;
    struct core_effects effects;
    uint32_t before;  /* the core counts on from the segments that were read */
    uint32_t segment; /* that the core was told of; 0: none yet */
    size_t unsynced;
    struct thing *things;
    size_t len, cap;
    char text[STORE_TEXT_MAX];
};

static int commit(struct writing *w)
{
    int rc;

    /* Room for another segment is made in between. */
    for (int i = 0; i < 3 && w->store->durable != w->store->appended; i++) {
        store_commit(w->store);
        store_tick(w->store);
    }
    w->unsynced = 0;
    rc = store_error(w->store, w->text);
    if (rc == 0 && w->store->durable != w->store->appended) {
        (void)snprintf(w->text, sizeof(w->text), "no room");
        rc = -ENOSPC;
    }
    return rc;
}

static int append(struct writing *w)
{
    const struct buf *b = &w->effects.records;
    uint64_t pos;
    int rc;

    /* What the start itself did lies in the images, too. */
    if (buf_size(b) == 0 || w->segment == 0)
        return 0;
    rc = store_append(w->store, buf_front(b), buf_size(b), &pos);
    if (rc != 0 && store_error(w->store, w->text) == 0)
        (void)snprintf(w->text, sizeof(w->text), "an entry of %zu bytes: %s",
                       buf_size(b), strerror(-rc));
    w->unsynced += buf_size(b);
    return rc == 0 && w->unsynced >= COMMIT_BYTES ? commit(w) : rc;
}

static int step(struct writing *w, enum core_event_kind kind)
{
    struct core_event ev = {.kind = kind, .now_ms = core_now_ms(w->core)};

    if (kind == EVENT_SEGMENT)
        ev.u.segment = w->before + w->segment;
    core_effects_reset(&w->effects);
    core_step(w->core, &ev, &w->effects);
    return append(w);
}

/* What is due is done, as by the clock of the journal. */
static int settle(struct writing *w)
{
    int rc = 0;

    while (rc == 0 && core_next_ms(w->core) <= core_now_ms(w->core))
        rc = step(w, EVENT_TICK);
    return rc;
}

static int follow(struct writing *w)
{
    int rc = 0;

    while (rc == 0 && w->segment != w->store->segment) {
        w->segment = w->store->segment;
        rc = step(w, EVENT_SEGMENT);
        if (rc == 0)
            rc = settle(w);
    }
    return rc;
}

static void note_thing(void *arg, const struct core_thing *t)
{
    struct writing *w = arg;

    if (w->len == w->cap) {
        w->cap = w->cap ? 2 * w->cap : 64;
        w->things = mem_realloc(w->things, mem_mul(w->cap, sizeof(*w->things)));
    }
    w->things[w->len++] = (struct thing){.id = t->id, .is_group = t->is_group};
}

static int compare_things(const void *a, const void *b)
{
    const struct thing *x = a, *y = b;

    return (x->id > y->id) - (x->id < y->id);
}

/* Jobs keep the order in which they came, groups come before their members. */
static int write_images(struct writing *w)
{
    int rc = step(w, EVENT_START);

    if (rc == 0)
        rc = settle(w);
    if (rc == 0)
        rc = follow(w);
    core_each(w->core, note_thing, w);
    if (w->len)
        qsort(w->things, w->len, sizeof(*w->things), compare_things);
    for (size_t i = 0; i < w->len && rc == 0; i++) {
        core_effects_reset(&w->effects);
        core_image(w->core, w->things[i].is_group, w->things[i].id,
                   &w->effects);
        rc = append(w);
        if (rc == 0)
            rc = settle(w);
        if (rc == 0)
            rc = follow(w);
    }
    return rc == 0 ? commit(w) : rc;
}

static int refuse_all(void *arg, const void *data, size_t len,
                      struct store_place place)
{
    (void)arg, (void)data, (void)len, (void)place;
    return -EEXIST; /* it was made just now */
}

static int replay_one(void *arg, const void *data, size_t len,
                      struct store_place place)
{
    return core_replay(arg, data, len, place.segment, NULL);
}

static uint64_t segment_bytes(uint64_t largest)
{
    uint64_t bytes = 65536;

    while (bytes < largest && bytes < (uint64_t)1 << 30)
        bytes *= 2;
    return largest ? bytes : 0;
}

static int open_journal(const char *dir, uint64_t largest, struct store **store,
                        char text[STORE_TEXT_MAX])
{
    const struct store_journal_options o = {
        .dir = dir,
        .sync = STORE_SYNC_ALWAYS,
        .segment_bytes = segment_bytes(largest),
    };

    return store_journal_open(&o, store, text);
}

/* All that the core knows, into a directory that is empty. */
static int write_journal(struct verify *v, const char *dir)
{
    struct writing w = {.core = v->core, .before = v->salvage.segments};
    int rc = open_journal(dir, v->salvage.largest, &w.store, w.text);

    core_effects_init(&w.effects);
    if (rc == 0)
        rc = store_replay(w.store, refuse_all, NULL, w.text);
    if (rc == 0)
        rc = write_images(&w);
    if (rc != 0)
        (void)verify_complain(dir, w.text);
    store_close(w.store);
    core_effects_clear(&w.effects);
    mem_free(w.things);
    return rc;
}

/* Does it say what the other one knows? */
static int check_journal(const struct verify *v, const char *dir)
{
    char text[STORE_TEXT_MAX];
    struct core *again = verify_core();
    struct store *store = NULL;
    int rc = open_journal(dir, v->salvage.largest, &store, text);

    if (rc == 0)
        rc = store_replay(store, replay_one, again, text);
    if (rc == 0) {
        core_replay_end(again);
        core_check(again);
        if (core_digest(again) != core_digest(v->core)) {
            (void)snprintf(text, sizeof(text),
                           "it does not say what was salvaged");
            rc = -EBADMSG;
        }
    }
    if (rc != 0)
        (void)verify_complain(dir, text);
    store_close(store);
    core_free(again);
    return rc;
}

/* --------------------------------------------------------------- directories
 */

struct names {
    char dir[PATH_MAX];    /* without slashes at its end */
    char parent[PATH_MAX]; /* where that lies */
    char fresh[PATH_MAX + 16];
    char aside[PATH_MAX + 64];
    char unfinished[PATH_MAX + 32];
    char left_out[PATH_MAX + 16];
};

static int name_all(struct names *n, const char *dir)
{
    size_t len = strlen(dir);
    const char *slash;

    while (len > 1 && dir[len - 1] == '/')
        len--;
    if (len == 0 || len >= PATH_MAX)
        return verify_complain(dir, strerror(ENAMETOOLONG));
    (void)snprintf(n->dir, sizeof(n->dir), "%.*s", (int)len, dir);
    slash = strrchr(n->dir, '/');
    if (!slash)
        (void)snprintf(n->parent, sizeof(n->parent), ".");
    else
        (void)snprintf(n->parent, sizeof(n->parent), "%.*s",
                       (int)(slash - n->dir) + 1, n->dir);
    (void)snprintf(n->fresh, sizeof(n->fresh), "%s.repairing", n->dir);
    (void)snprintf(n->unfinished, sizeof(n->unfinished),
                   "%s/" VERIFY_UNFINISHED, n->fresh);
    (void)snprintf(n->left_out, sizeof(n->left_out), "%s/left-out", n->dir);
    return 0;
}

static bool exists(const char *path)
{
    struct stat st;

    return lstat(path, &st) == 0;
}

static int sync_path(const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    int rc =
        fd < 0 || fsync(fd) < 0 ? verify_complain(path, strerror(errno)) : 0;

    if (fd >= 0)
        (void)close(fd); /* synced, or told */
    return rc;
}

static int rename_path(const char *from, const char *to, const char *parent)
{
    if (rename(from, to) < 0)
        return verify_complain(from, strerror(errno));
    return sync_path(parent);
}

/* A name that is free: DIR.damaged-TIME, and more if that is taken. */
static void name_aside(struct names *n)
{
    time_t now = time(NULL);
    char text[32];
    struct tm tm;

    (void)gmtime_r(&now, &tm);
    (void)strftime(text, sizeof(text), "%Y%m%dT%H%M%SZ", &tm);
    (void)snprintf(n->aside, sizeof(n->aside), "%s.damaged-%s", n->dir, text);
    for (int i = 2; exists(n->aside); i++)
        (void)snprintf(n->aside, sizeof(n->aside), "%s.damaged-%s.%d", n->dir,
                       text, i);
}

static int set_aside(struct names *n, const char *from)
{
    name_aside(n);
    if (rename_path(from, n->aside, n->parent))
        return EXIT_FAILURE;
    printf("aside %s\n", n->aside);
    return 0;
}

/* Calls `each` for the files of a directory until it is not 0; what it returns,
 * and -1 with errno is told. */
static int each_file(const char *path,
                     int (*each)(void *arg, int fd, const char *name),
                     void *arg)
{
    DIR *dir = opendir(path);
    struct dirent *entry;
    int rc = dir ? 0 : -1;

    while (rc == 0 && (entry = readdir(dir))) {
        if (entry->d_name[0] != '.')
            rc = each(arg, dirfd(dir), entry->d_name);
    }
    if (rc < 0)
        (void)verify_complain(path, strerror(errno));
    if (dir)
        (void)closedir(dir); /* only read */
    return rc;
}

static bool is_segment(const char *name)
{
    return strlen(name) == 13 && strspn(name, "0123456789") == 10 &&
           strcmp(name + 10, ".yj") == 0;
}

static int find_segment(void *arg, int fd, const char *name)
{
    (void)arg;
    (void)fd;
    return is_segment(name);
}

/* Before anything is made in it, or for it. */
static bool is_journal(const char *dir, const char *wanted)
{
    char text[STORE_TEXT_MAX];
    int rc = each_file(dir, find_segment, NULL);

    if (rc == 0) {
        verify_nothing_there(text, dir, wanted);
        (void)verify_complain(dir, text);
    }
    return rc > 0;
}

static int remove_file(void *arg, int fd, const char *name)
{
    (void)arg;
    return strcmp(name, VERIFY_UNFINISHED) == 0 ? 0 : unlinkat(fd, name, 0);
}

/* With all that is in it; what says that it is not finished goes last. */
static int remove_fresh(const struct names *n)
{
    int rc = each_file(n->fresh, remove_file, NULL);

    if (rc == 0 && (unlink(n->unfinished) < 0 || rmdir(n->fresh) < 0))
        rc = verify_complain(n->fresh, strerror(errno));
    return rc;
}

/* What an interrupted repair has left behind. */
static int tidy(struct names *n)
{
    if (!exists(n->fresh) || rmdir(n->fresh) == 0)
        return 0;
    if (exists(n->unfinished))
        return remove_fresh(n);
    if (exists(n->dir)) /* all but the last rename was done, or none */
        return set_aside(n, n->fresh);
    return rename_path(n->fresh, n->dir, n->parent);
}

static int make_fresh(const struct names *n)
{
    struct stat st;
    int fd;

    if (stat(n->dir, &st) < 0)
        return verify_complain(n->dir, strerror(errno));
    if (mkdir(n->fresh, 0700) < 0)
        return verify_complain(n->fresh, strerror(errno));
    fd = open(n->unfinished, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return verify_complain(n->unfinished, strerror(errno));
    (void)close(fd); /* empty */
    if (chown(n->fresh, st.st_uid, st.st_gid) < 0 ||
        chmod(n->fresh, st.st_mode & 07777) < 0)
        return verify_complain(n->fresh, strerror(errno));
    return sync_path(n->fresh);
}

/* The new one takes the name of the old one, which is never free. */
static int put_in_place(struct names *n)
{
    if (unlink(n->unfinished) < 0)
        return verify_complain(n->unfinished, strerror(errno));
    if (sync_path(n->fresh) || sync_path(n->dir))
        return EXIT_FAILURE;
    if (renameat2(AT_FDCWD, n->fresh, AT_FDCWD, n->dir, RENAME_EXCHANGE) == 0)
        return sync_path(n->parent) ? EXIT_FAILURE : set_aside(n, n->fresh);
    if (errno != EINVAL && errno != ENOSYS)
        return verify_complain(n->dir, strerror(errno));
    /* The file system cannot. */
    if (set_aside(n, n->dir))
        return EXIT_FAILURE;
    return rename_path(n->fresh, n->dir, n->parent);
}

static int write_left_out(const struct names *n, const char *data, size_t len)
{
    FILE *file = len ? fopen(n->left_out, "we") : NULL;
    bool bad;

    if (len == 0)
        return 0;
    if (!file)
        return verify_complain(n->left_out, strerror(errno));
    bad = fwrite(data, 1, len, file) != len || fflush(file) != 0 ||
          fsync(fileno(file)) < 0;
    if (bad)
        (void)verify_complain(n->left_out, strerror(errno));
    (void)fclose(file); /* it was flushed */
    return bad;
}

static int give_file(void *arg, int fd, const char *name)
{
    const struct stat *owner = arg;

    return fchownat(fd, name, owner->st_uid, owner->st_gid, 0);
}

/* The daemon is to read it, whoever has repaired it. */
static int give_fresh(const struct names *n)
{
    struct stat owner;

    if (stat(n->dir, &owner) < 0)
        return verify_complain(n->dir, strerror(errno));
    return each_file(n->fresh, give_file, &owner);
}

/* Asked before the work is done, which may be long. */
static int may_be_renamed(const struct names *n)
{
    struct stat in, around;

    if (stat(n->dir, &in) < 0 || stat(n->parent, &around) < 0)
        return verify_complain(n->dir, strerror(errno));
    if (in.st_dev != around.st_dev)
        return verify_complain(n->dir,
                               "a file system is mounted here, and cannot be "
                               "renamed: repair a copy of the directory");
    return 0;
}

static int replace(struct names *n, struct verify *v, const char *left,
                   size_t len)
{
    if (may_be_renamed(n))
        return EXIT_FAILURE;
    if (make_fresh(n) || write_journal(v, n->fresh) ||
        check_journal(v, n->fresh) || write_left_out(n, left, len) ||
        give_fresh(n) || put_in_place(n)) {
        if (exists(n->unfinished)) /* the disk may be full of it */
            (void)remove_fresh(n);
        return EXIT_FAILURE;
    }
    printf("repaired %s\n", n->dir);
    return EXIT_SUCCESS;
}

static int repair(struct names *n)
{
    char *left = NULL;
    size_t len = 0;
    FILE *file = open_memstream(&left, &len);
    struct verify v;
    int status;

    mem_must(file != NULL);
    verify_init(&v, n->dir, n->dir, file);
    status = verify_read(&v, false);
    mem_must(fclose(file) == 0);
    if (status == EXIT_SUCCESS)
        printf("nothing to repair\n");
    else if (status == VERIFY_DAMAGED)
        status = replace(n, &v, left, len);
    verify_clear(&v);
    free(left);
    return status;
}

int offline_repair(const char *dir)
{
    static struct names n;
    char real[PATH_MAX];
    int fd, status;

    /* Beside what a link points to there is room for another one. */
    if (name_all(&n, realpath(dir, real) ? real : dir))
        return EXIT_FAILURE;
    if (!exists(n.dir) && exists(n.fresh) && tidy(&n))
        return EXIT_FAILURE;
    if (!is_journal(n.dir, "journal") || verify_refuse(n.dir))
        return EXIT_FAILURE;
    fd = verify_lock(n.dir, O_RDWR | O_CREAT, LOCK_EX);
    if (fd < 0)
        return EXIT_FAILURE;
    status = tidy(&n) ? EXIT_FAILURE : repair(&n);
    (void)close(fd); /* only locked */
    return status;
}

/* ---------------------------------------------------------------- restoring
 */

static int remove_segment(void *arg, int fd, const char *name)
{
    (void)arg;
    return is_segment(name) ? unlinkat(fd, name, 0) : 0;
}

struct restoring {
    const char *dir;
    struct stat owner;
    char *block;
};

#define BLOCK_BYTES ((size_t)1 << 20)

static int copy_bytes(struct restoring *r, int from, int to)
{
    ssize_t n;

    while ((n = read(from, r->block, BLOCK_BYTES)) > 0) {
        for (ssize_t done = 0, put; done < n; done += put) {
            put = write(to, r->block + done, (size_t)(n - done));
            if (put < 0)
                return -1;
        }
    }
    if (n < 0 || fchown(to, r->owner.st_uid, r->owner.st_gid) < 0)
        return -1;
    return fsync(to);
}

static int copy_segment(void *arg, int fd, const char *name)
{
    struct restoring *r = arg;
    char path[PATH_MAX + 16];
    int from, to, rc;

    if (!is_segment(name))
        return 0;
    (void)snprintf(path, sizeof(path), "%s/%s", r->dir, name);
    from = openat(fd, name, O_RDONLY | O_CLOEXEC);
    if (from < 0)
        return -1;
    to = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    rc = to < 0 ? -1 : copy_bytes(r, from, to);
    if (rc < 0)
        rc = verify_complain(path, strerror(errno));
    if (to >= 0)
        (void)close(to); /* synced, or told */
    (void)close(from);   /* only read */
    return rc;
}

/* Is what was copied what the backup should be? Says what it holds. */
static int read_again(const char *backup, const char *dir)
{
    struct verify v;
    int status;

    verify_init(&v, dir, backup, NULL);
    status = verify_read(&v, false);
    verify_clear(&v);
    return status;
}

static int restore(const char *backup, struct restoring *r,
                   const char *unfinished)
{
    int fd, rc;

    if (!exists(unfinished) && each_file(r->dir, find_segment, NULL) != 0)
        return verify_complain(r->dir,
                               "there is a journal already: move it away "
                               "first, nothing is written over");
    fd = open(unfinished, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0)
        return verify_complain(unfinished, strerror(errno));
    (void)close(fd); /* empty */
    if (sync_path(r->dir) || each_file(r->dir, remove_segment, NULL))
        return EXIT_FAILURE;
    rc = each_file(backup, copy_segment, r) || sync_path(r->dir)
             ? EXIT_FAILURE
             : read_again(backup, r->dir);
    if (rc != 0 && each_file(r->dir, remove_segment, NULL))
        return EXIT_FAILURE;
    if (unlink(unfinished) < 0)
        return verify_complain(unfinished, strerror(errno));
    if (sync_path(r->dir) || rc != 0)
        return verify_complain(
            backup, rc == VERIFY_DAMAGED
                        ? "not restored: it is damaged; yoked --repair "
                          "keeps what is whole of it"
                        : "not restored");
    printf("restored %s\n", r->dir);
    return EXIT_SUCCESS;
}

/* The directory, whose it is, and that it is there after a power cut, too. */
static int make_journal(struct restoring *r, const char *parent)
{
    char above[PATH_MAX + 4];
    bool made = (mkdir(parent, 0700) == 0 || errno == EEXIST) &&
                mkdir(r->dir, 0700) == 0;

    if ((!made && errno != EEXIST) ||
        stat(made ? parent : r->dir, &r->owner) < 0 ||
        (made && chown(r->dir, r->owner.st_uid, r->owner.st_gid) < 0))
        return verify_complain(r->dir, strerror(errno));
    /* A restore that was killed may have made them. */
    (void)snprintf(above, sizeof(above), "%s/..", parent);
    return sync_path(parent) || sync_path(above) ? EXIT_FAILURE : 0;
}

static bool is_same(const char *a, const char *b)
{
    struct stat x, y;

    return stat(a, &x) == 0 && stat(b, &y) == 0 && x.st_dev == y.st_dev &&
           x.st_ino == y.st_ino;
}

int offline_restore(const char *backup, const char *dir)
{
    static struct names n;
    char unfinished[PATH_MAX + 32];
    struct restoring r = {.dir = n.dir};
    int from, to, status = EXIT_FAILURE;

    if (name_all(&n, dir))
        return EXIT_FAILURE;
    if (verify_unfinished(backup))
        return verify_complain(backup, "this backup is not finished");
    from = verify_lock(backup, O_RDONLY, LOCK_SH);
    if (from < 0 || !is_journal(backup, "backup") || make_journal(&r, n.parent))
        return EXIT_FAILURE;
    if (is_same(backup, n.dir))
        return verify_complain(backup, "that is the journal itself");
    to = verify_lock(n.dir, O_RDWR | O_CREAT, LOCK_EX);
    if (to < 0)
        return EXIT_FAILURE;
    (void)snprintf(unfinished, sizeof(unfinished), "%s/" VERIFY_UNFINISHED,
                   n.dir);
    r.block = mem_alloc(BLOCK_BYTES);
    if (fchown(to, r.owner.st_uid, r.owner.st_gid) < 0)
        (void)verify_complain(n.dir, strerror(errno));
    else
        status = restore(backup, &r, unfinished);
    mem_free(r.block);
    (void)close(to);   /* only locked */
    (void)close(from); /* likewise */
    return status;
}
