/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * disk - a disk in memory behind the journal's seam.
 *
 * It knows what has been synced. Any call may fail or be cut short, the power
 * may go between any two calls; disk_restart then keeps any subset of the
 * sectors, and of the changes of names, that were not synced.
 */
#ifndef YOKE_TEST_DISK_H
#define YOKE_TEST_DISK_H

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>

#include "base/mem.h"
#include "store/store.h"

/* -- Checks ------------------------------------------------------------- */

/* Check's own assertions tell the parent process of each one that passes, and
 * there are millions here. These only speak when they fail. */
#define MUST_SAY(cond, ...)            \
    do {                               \
        if (!(cond))                   \
            ck_abort_msg(__VA_ARGS__); \
    } while (0)
#define MUST(cond)    MUST_SAY(cond, "not true: %s", #cond)
#define MUST_EQ(a, b) must_eq((int64_t)(a), (int64_t)(b), #a, #b, __LINE__)

static void must_eq(int64_t a, int64_t b, const char *a_text,
                    const char *b_text, int line)
{
    MUST_SAY(a == b, "line %d: %s is %" PRId64 ", but %s is %" PRId64, line,
             a_text, a, b_text, b);
}

/* -- Chance, repeatable ------------------------------------------------- */

static uint64_t mix(uint64_t x)
{
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

static uint64_t chance(uint64_t *seed)
{
    *seed += 0x9e3779b97f4a7c15u;
    return mix(*seed);
}

/* -- The disk ------------------------------------------------- */

#define SECTOR    512u
#define FILES_MAX 64
#define FDS_MAX   32
#define NAME_MAX_ 32
#define OPS_MAX   64
#define NO_LIMIT  UINT64_MAX

enum call {
    CALL_OPEN,
    CALL_READ,
    CALL_WRITE,
    CALL_FDATASYNC,
    CALL_FSYNC,
    CALL_RENAME,
    CALL_UNLINK,
    CALL_FTRUNCATE,
    CALL_KINDS
};

struct content {
    char *data;
    size_t size;
};

struct inode {
    struct content now, synced;
    size_t dirty_from, dirty_to; /* where they differ, at most */
    bool locked;
};

struct name {
    char text[NAME_MAX_];
    int inode; /* -1: free */
};

struct name_op {
    char from[NAME_MAX_], to[NAME_MAX_]; /* empty: created; removed */
    int inode;
};

struct disk {
    pthread_mutex_t mutex;
    struct inode inodes[FILES_MAX];
    struct name names[FILES_MAX], synced_names[FILES_MAX];
    struct name_op ops[OPS_MAX];
    size_t ops_len;
    int fds[FDS_MAX]; /* inode, -2: the directory, -1: free */
    uint64_t seed;
    uint64_t room;                /* bytes for all files */
    size_t read_most;             /* bytes that one read brings */
    uint64_t calls, power_off_at; /* calls that may change the disk */
    uint64_t count[CALL_KINDS];
    enum call fail_kind;
    uint64_t fail_at; /* this occurrence of fail_kind fails; 0: none */
    int fail_with;    /* a negative errno; 0: a short write */
    bool failed;
};

static void disk_init(struct disk *d, uint64_t seed)
{
    *d = (struct disk){.seed = seed,
                       .room = NO_LIMIT,
                       .read_most = SIZE_MAX,
                       .power_off_at = NO_LIMIT};
    MUST_EQ(pthread_mutex_init(&d->mutex, NULL), 0);
    for (int i = 0; i < FILES_MAX; i++)
        d->names[i].inode = d->synced_names[i].inode = -1;
    for (int i = 0; i < FDS_MAX; i++)
        d->fds[i] = -1;
}

static void disk_clear(struct disk *d)
{
    for (int i = 0; i < FILES_MAX; i++) {
        mem_free(d->inodes[i].now.data);
        mem_free(d->inodes[i].synced.data);
    }
    (void)pthread_mutex_destroy(&d->mutex);
}

static void content_resize(struct content *c, size_t size)
{
    c->data = mem_realloc(c->data, size);
    if (size > c->size)
        memset(c->data + c->size, 0, size - c->size);
    c->size = size;
}

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash ? slash + 1 : path;
}

static struct name *name_find(struct name *names, const char *text)
{
    for (int i = 0; i < FILES_MAX; i++)
        if (names[i].inode >= 0 && strcmp(names[i].text, text) == 0)
            return &names[i];
    return NULL;
}

static void name_apply(struct name *names, const struct name_op *op)
{
    struct name *n;

    if (op->to[0] && (n = name_find(names, op->to)))
        n->inode = -1;
    if (op->from[0] && (n = name_find(names, op->from)))
        n->inode = -1;
    if (!op->to[0])
        return;
    for (n = names; n->inode >= 0; n++)
        MUST(n < names + FILES_MAX - 1);
    (void)snprintf(n->text, sizeof(n->text), "%s", op->to);
    n->inode = op->inode;
}

/* What a file system does by itself from time to time. */
static void names_sync(struct disk *d)
{
    memcpy(d->synced_names, d->names, sizeof(d->names));
    d->ops_len = 0;
}

static void name_change(struct disk *d, const char *from, const char *to,
                        int inode)
{
    struct name_op *op;

    if (d->ops_len == OPS_MAX)
        names_sync(d);
    op = &d->ops[d->ops_len++];
    *op = (struct name_op){.inode = inode};
    (void)snprintf(op->from, sizeof(op->from), "%s", from);
    (void)snprintf(op->to, sizeof(op->to), "%s", to);
    name_apply(d->names, op);
}

/* Every call comes through here, and says whether it may go on. */
static int enter(struct disk *d, enum call kind)
{
    MUST_EQ(pthread_mutex_lock(&d->mutex), 0);
    d->count[kind]++;
    if (kind != CALL_OPEN && kind != CALL_READ)
        d->calls++;
    if (d->calls > d->power_off_at)
        return -EIO;
    if (d->fail_at && kind == d->fail_kind && d->count[kind] == d->fail_at) {
        d->failed = true;
        return d->fail_with;
    }
    return 0;
}

static int64_t leave(struct disk *d, int64_t result)
{
    MUST_EQ(pthread_mutex_unlock(&d->mutex), 0);
    return result;
}

static struct inode *inode_of(struct disk *d, int fd)
{
    MUST(fd >= 0);
    MUST(fd < FDS_MAX);
    MUST(d->fds[fd] >= 0);
    return &d->inodes[d->fds[fd]];
}

static bool inode_in_use(const struct disk *d, int i)
{
    bool used = false;

    for (int k = 0; k < FILES_MAX; k++)
        used |= d->names[k].inode == i || d->synced_names[k].inode == i;
    for (int k = 0; k < FDS_MAX; k++)
        used |= d->fds[k] == i;
    for (size_t k = 0; k < d->ops_len; k++)
        used |= d->ops[k].inode == i;
    return used;
}

static int inode_new(struct disk *d)
{
    for (int turn = 0; turn < 2; turn++) {
        for (int i = 0; i < FILES_MAX; i++) {
            if (inode_in_use(d, i))
                continue;
            mem_free(d->inodes[i].now.data);
            mem_free(d->inodes[i].synced.data);
            d->inodes[i] = (struct inode){0};
            return i;
        }
        names_sync(d);
    }
    ck_abort_msg("too many files");
}

static int disk_open_locked(struct disk *d, const char *path, int flags)
{
    struct name *n = name_find(d->names, base_name(path));
    int inode = n ? n->inode : -1;

    if (flags & O_DIRECTORY)
        inode = -2;
    else if (inode >= 0 && (flags & O_EXCL))
        return -EEXIST;
    else if (inode < 0 && !(flags & O_CREAT))
        return -ENOENT;
    if (inode == -1) {
        inode = inode_new(d);
        name_change(d, "", base_name(path), inode);
    }
    for (int fd = 0; fd < FDS_MAX; fd++)
        if (d->fds[fd] == -1) {
            d->fds[fd] = inode;
            return fd;
        }
    ck_abort_msg("too many descriptors");
}

static int disk_open(void *arg, const char *path, int flags, unsigned mode)
{
    int rc = enter(arg, CALL_OPEN);

    (void)mode;
    return (int)leave(arg, rc ? rc : disk_open_locked(arg, path, flags));
}

static int disk_close(void *arg, int fd)
{
    struct disk *d = arg;

    (void)pthread_mutex_lock(&d->mutex);
    MUST(d->fds[fd] != -1);
    if (d->fds[fd] >= 0)
        d->inodes[d->fds[fd]].locked = false;
    d->fds[fd] = -1;
    return (int)leave(d, 0);
}

static int64_t disk_pread(void *arg, int fd, void *to, size_t len,
                          int64_t offset)
{
    struct disk *d = arg;
    int rc = enter(d, CALL_READ);
    const struct content *c = &inode_of(d, fd)->now;
    size_t at = (size_t)offset;

    if (rc)
        return leave(d, rc);
    if (at >= c->size)
        return leave(d, 0);
    if (len > c->size - at)
        len = c->size - at;
    if (len > d->read_most)
        len = d->read_most;
    memcpy(to, c->data + at, len);
    return leave(d, (int64_t)len);
}

static void touch(struct inode *i, size_t from, size_t to)
{
    if (i->dirty_from == i->dirty_to) {
        i->dirty_from = from;
        i->dirty_to = to;
        return;
    }
    i->dirty_from = from < i->dirty_from ? from : i->dirty_from;
    i->dirty_to = to > i->dirty_to ? to : i->dirty_to;
}

static int64_t disk_pwrite(void *arg, int fd, const void *from, size_t len,
                           int64_t offset)
{
    struct disk *d = arg;
    bool failed = d->failed;
    int rc = enter(d, CALL_WRITE);
    struct inode *i = inode_of(d, fd);
    size_t at = (size_t)offset;
    uint64_t all = 0;

    if (rc)
        return leave(d, rc);
    if (d->failed && !failed)
        len /= 2;
    for (int k = 0; k < FILES_MAX; k++)
        if (d->names[k].inode >= 0)
            all += d->inodes[d->names[k].inode].now.size;
    if (at + len > i->now.size) {
        if (d->room != NO_LIMIT && all + at + len - i->now.size > d->room) {
            if (all >= d->room)
                return leave(d, -ENOSPC);
            len = (size_t)(d->room - all) + i->now.size - at; /* what fits */
        }
        content_resize(&i->now, at + len);
    }
    memcpy(i->now.data + at, from, len);
    touch(i, at, at + len);
    return leave(d, (int64_t)len);
}

static void inode_sync(struct inode *i)
{
    content_resize(&i->synced, i->now.size);
    if (i->dirty_to > i->now.size)
        i->dirty_to = i->now.size;
    if (i->dirty_to > i->dirty_from)
        memcpy(i->synced.data + i->dirty_from, i->now.data + i->dirty_from,
               i->dirty_to - i->dirty_from);
    i->dirty_from = i->dirty_to = 0;
}

static int disk_fdatasync(void *arg, int fd)
{
    int rc = enter(arg, CALL_FDATASYNC);

    if (rc == 0)
        inode_sync(inode_of(arg, fd));
    return (int)leave(arg, rc);
}

static int disk_fsync(void *arg, int fd)
{
    struct disk *d = arg;
    int rc = enter(d, CALL_FSYNC);

    MUST_EQ(d->fds[fd], -2);
    if (rc == 0)
        names_sync(d);
    return (int)leave(d, rc);
}

static int disk_rename(void *arg, const char *from, const char *to)
{
    struct disk *d = arg;
    int rc = enter(d, CALL_RENAME);
    struct name *n = name_find(d->names, base_name(from));

    if (rc == 0 && !n)
        rc = -ENOENT;
    if (rc == 0) {
        MUST(!name_find(d->names, base_name(to)));
        name_change(d, base_name(from), base_name(to), n->inode);
    }
    return (int)leave(d, rc);
}

static int disk_unlink(void *arg, const char *path)
{
    struct disk *d = arg;
    int rc = enter(d, CALL_UNLINK);
    struct name *n = name_find(d->names, base_name(path));

    if (rc == 0 && !n)
        rc = -ENOENT;
    if (rc == 0)
        name_change(d, base_name(path), "", n->inode);
    return (int)leave(d, rc);
}

static int disk_ftruncate(void *arg, int fd, int64_t size)
{
    struct disk *d = arg;
    int rc = enter(d, CALL_FTRUNCATE);

    if (rc == 0)
        content_resize(&inode_of(d, fd)->now, (size_t)size);
    return (int)leave(d, rc);
}

static int64_t disk_size(void *arg, int fd)
{
    int rc = enter(arg, CALL_READ);

    return leave(arg, rc ? rc : (int64_t)inode_of(arg, fd)->now.size);
}

static int disk_list(void *arg, const char *dir,
                     void (*each)(void *each_arg, const char *name),
                     void *each_arg)
{
    struct disk *d = arg;

    (void)dir;
    for (int i = 0; i < FILES_MAX; i++)
        if (d->names[i].inode >= 0)
            each(each_arg, d->names[i].text);
    return 0;
}

static int disk_lock(void *arg, int fd)
{
    struct inode *i = inode_of(arg, fd);

    if (i->locked)
        return -EWOULDBLOCK;
    i->locked = true;
    return 0;
}

static uint64_t disk_random(void *arg)
{
    return chance(&((struct disk *)arg)->seed);
}

static struct store_io disk_io(struct disk *d)
{
    return (struct store_io){.arg = d,
                             .open = disk_open,
                             .close = disk_close,
                             .pread = disk_pread,
                             .pwrite = disk_pwrite,
                             .fdatasync = disk_fdatasync,
                             .fsync = disk_fsync,
                             .rename = disk_rename,
                             .unlink = disk_unlink,
                             .ftruncate = disk_ftruncate,
                             .size = disk_size,
                             .list = disk_list,
                             .lock = disk_lock,
                             .random = disk_random};
}

/* From now on: the nth call of that kind fails; nth 0: none does. */
static inline void disk_fail(struct disk *d, enum call kind, uint64_t nth,
                             int with)
{
    d->fail_kind = kind;
    d->fail_at = nth ? d->count[kind] + nth : 0;
    d->fail_with = with;
    d->failed = false;
}

static inline int disk_list_refused(void *arg, const char *dir,
                                    void (*each)(void *each_arg,
                                                 const char *name),
                                    void *each_arg)
{
    (void)arg, (void)dir, (void)each, (void)each_arg;
    return -EACCES;
}

/* The power comes back. Sectors and names that were not synced are old or new
 * as chance decides. `torn` false: only the process has died, all that it
 * wrote is there. */
static inline void disk_restart(struct disk *d, bool torn)
{
    for (size_t i = 0; i < d->ops_len; i++)
        if (!torn || chance(&d->seed) % 2)
            name_apply(d->synced_names, &d->ops[i]);
    memcpy(d->names, d->synced_names, sizeof(d->names));
    d->ops_len = 0;
    for (int k = 0; k < FILES_MAX; k++) {
        struct inode *i = &d->inodes[k];

        i->locked = false;
        if (torn && i->now.size != i->synced.size && chance(&d->seed) % 2)
            content_resize(&i->now, i->synced.size);
        for (size_t at = i->dirty_from / SECTOR * SECTOR;
             torn && at < i->dirty_to && at < i->now.size; at += SECTOR) {
            size_t end = at + SECTOR < i->now.size ? at + SECTOR : i->now.size;

            if (chance(&d->seed) % 2)
                continue;
            for (size_t p = at; p < end; p++)
                i->now.data[p] = p < i->synced.size ? i->synced.data[p] : 0;
        }
        inode_sync(i);
        content_resize(&i->synced, i->now.size);
        if (i->now.size)
            memcpy(i->synced.data, i->now.data, i->now.size);
    }
    for (int fd = 0; fd < FDS_MAX; fd++)
        d->fds[fd] = -1;
    d->power_off_at = NO_LIMIT;
    d->fail_at = 0;
}

static inline struct content *disk_file(struct disk *d, const char *name)
{
    struct name *n = name_find(d->names, name);

    return n ? &d->inodes[n->inode].now : NULL;
}

static inline size_t disk_names(struct disk *d, const char *prefix)
{
    size_t count = 0;

    for (int i = 0; i < FILES_MAX; i++)
        count += d->names[i].inode >= 0 &&
                 strncmp(d->names[i].text, prefix, strlen(prefix)) == 0;
    return count;
}

#endif
