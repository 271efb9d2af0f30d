/* SPDX-License-Identifier: BSD-2-Clause */
#include "disk.h"

#include <errno.h>
#include <fcntl.h>

#include "base/mem.h"

static uint64_t disk_random(void *arg)
{
    struct disk *d = arg;
    uint64_t z = (d->random += UINT64_C(0x9e3779b97f4a7c15));

    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash ? slash + 1 : path;
}

static int name_find(const struct disk *d, const char *name)
{
    for (int i = 0; i < DISK_FILES; i++)
        if (d->names[i].name[0] && !strcmp(d->names[i].name, name))
            return i;
    return -1;
}

static void names_changed(struct disk *d)
{
    d->changes++;
    ASSERT(d->changes < DISK_OPS);
    memcpy(d->history[d->changes], d->names, sizeof(d->names));
}

static bool inode_named(const struct disk *d, int inode)
{
    for (int k = 0; k <= d->changes; k++)
        for (int i = 0; i < DISK_FILES; i++)
            if (d->history[k][i].name[0] && d->history[k][i].inode == inode)
                return true;
    return false;
}

static bool inode_open(const struct disk *d, int inode)
{
    for (int i = 0; i < DISK_FDS; i++)
        if (d->fds[i].used && !d->fds[i].dir && d->fds[i].inode == inode)
            return true;
    return false;
}

/* Give back what no name and no descriptor reaches. */
static void inodes_reap(struct disk *d)
{
    for (int i = 0; i < DISK_FILES; i++) {
        struct disk_inode *n = &d->inodes[i];

        if (!n->used || inode_named(d, i) || inode_open(d, i))
            continue;
        mem_free(n->data);
        mem_free(n->synced);
        mem_free(n->dirty);
        *n = (struct disk_inode){0};
    }
}

static void inode_grow(struct disk_inode *n, size_t size)
{
    size_t cap = n->cap ? n->cap : 4096;

    if (size <= n->cap)
        return;
    while (cap < size)
        cap *= 2;
    n->data = mem_realloc(n->data, cap);
    n->synced = mem_realloc(n->synced, cap);
    n->dirty = mem_realloc(n->dirty, cap / DISK_SECTOR);
    memset(n->data + n->cap, 0, cap - n->cap);
    memset(n->synced + n->cap, 0, cap - n->cap);
    memset(n->dirty + n->cap / DISK_SECTOR, 0, (cap - n->cap) / DISK_SECTOR);
    n->cap = cap;
}

static int inode_new(struct disk *d)
{
    for (int i = 0; i < DISK_FILES; i++)
        if (!d->inodes[i].used) {
            d->inodes[i] = (struct disk_inode){.used = true};
            return i;
        }
    return -ENOSPC;
}

static int disk_open(void *arg, const char *path, int flags, unsigned mode)
{
    struct disk *d = arg;
    const char *name = base_name(path);
    int at = name_find(d, name), fd, inode;
    bool dir = (flags & O_DIRECTORY) != 0;

    (void)mode; /* one user */
    if (d->dead)
        return -EIO;
    for (fd = 0; fd < DISK_FDS && d->fds[fd].used; fd++)
        ;
    if (fd == DISK_FDS)
        return -EMFILE;
    if (!dir && at < 0 && !(flags & O_CREAT))
        return -ENOENT;
    if (!dir && at >= 0 && (flags & O_EXCL))
        return -EEXIST;
    if (!dir && at < 0) {
        inode = inode_new(d);
        if (inode < 0)
            return inode;
        for (at = 0; at < DISK_FILES && d->names[at].name[0]; at++)
            ;
        ASSERT(at < DISK_FILES && strlen(name) < DISK_NAME);
        (void)snprintf(d->names[at].name, DISK_NAME, "%s", name);
        d->names[at].inode = inode;
        names_changed(d);
    }
    d->fds[fd].used = true;
    d->fds[fd].dir = dir;
    d->fds[fd].inode = dir ? -1 : d->names[at].inode;
    if (!dir && (flags & O_TRUNC))
        d->inodes[d->fds[fd].inode].size = 0;
    return fd + 3;
}

static struct disk_inode *fd_inode(struct disk *d, int fd)
{
    ASSERT(fd >= 3 && fd - 3 < DISK_FDS && d->fds[fd - 3].used &&
           !d->fds[fd - 3].dir);
    return &d->inodes[d->fds[fd - 3].inode];
}

static int disk_close(void *arg, int fd)
{
    struct disk *d = arg;

    ASSERT(fd >= 3 && fd - 3 < DISK_FDS && d->fds[fd - 3].used);
    if (!d->fds[fd - 3].dir)
        d->inodes[d->fds[fd - 3].inode].locked = false;
    d->fds[fd - 3].used = false;
    inodes_reap(d);
    return 0;
}

static int64_t disk_pread(void *arg, int fd, void *to, size_t len,
                          int64_t offset)
{
    struct disk *d = arg;
    struct disk_inode *n = fd_inode(d, fd);
    size_t at = (size_t)offset;

    if (d->dead)
        return -EIO;
    if (at >= n->size)
        return 0;
    if (len > n->size - at)
        len = n->size - at;
    memcpy(to, n->data + at, len);
    return (int64_t)len;
}

static int64_t disk_pwrite(void *arg, int fd, const void *from, size_t len,
                           int64_t offset)
{
    struct disk *d = arg;
    struct disk_inode *n = fd_inode(d, fd);
    size_t at = (size_t)offset;

    if (d->dead)
        return -EIO;
    if (len == 0)
        return 0;
    inode_grow(n, at + len);
    memcpy(n->data + at, from, len);
    if (at + len > n->size)
        n->size = at + len;
    memset(n->dirty + at / DISK_SECTOR, 1,
           (at + len - 1) / DISK_SECTOR - at / DISK_SECTOR + 1);
    d->writes++;
    return (int64_t)len;
}

static int disk_fdatasync(void *arg, int fd)
{
    struct disk *d = arg;
    struct disk_inode *n = fd_inode(d, fd);

    if (d->dead)
        return -EIO;
    for (size_t i = 0; i < n->cap / DISK_SECTOR; i++)
        if (n->dirty[i])
            memcpy(n->synced + i * DISK_SECTOR, n->data + i * DISK_SECTOR,
                   DISK_SECTOR);
    if (n->cap)
        memset(n->dirty, 0, n->cap / DISK_SECTOR);
    n->synced_size = n->size;
    d->syncs++;
    return 0;
}

static int disk_fsync(void *arg, int fd)
{
    struct disk *d = arg;

    if (d->dead)
        return -EIO;
    if (!d->fds[fd - 3].dir)
        return disk_fdatasync(arg, fd);
    memcpy(d->history[0], d->names, sizeof(d->names));
    d->changes = 0;
    inodes_reap(d);
    return 0;
}

static int disk_rename(void *arg, const char *from, const char *to)
{
    struct disk *d = arg;
    int a = name_find(d, base_name(from)), b = name_find(d, base_name(to));

    if (d->dead)
        return -EIO;
    if (a < 0)
        return -ENOENT;
    if (b >= 0)
        d->names[b].name[0] = '\0';
    (void)snprintf(d->names[a].name, DISK_NAME, "%s", base_name(to));
    names_changed(d);
    return 0;
}

static int disk_unlink(void *arg, const char *path)
{
    struct disk *d = arg;
    int at = name_find(d, base_name(path));

    if (d->dead)
        return -EIO;
    if (at < 0)
        return -ENOENT;
    d->names[at].name[0] = '\0';
    names_changed(d);
    return 0;
}

static int disk_ftruncate(void *arg, int fd, int64_t size)
{
    struct disk *d = arg;
    struct disk_inode *n = fd_inode(d, fd);

    if (d->dead)
        return -EIO;
    inode_grow(n, (size_t)size);
    if ((size_t)size < n->size) {
        memset(n->data + size, 0, n->size - (size_t)size);
        memset(n->dirty + (size_t)size / DISK_SECTOR, 1,
               (n->size - 1) / DISK_SECTOR - (size_t)size / DISK_SECTOR + 1);
    }
    n->size = (size_t)size;
    return 0;
}

static int64_t disk_size(void *arg, int fd)
{
    struct disk *d = arg;

    return d->dead ? -EIO : (int64_t)fd_inode(d, fd)->size;
}

static int name_order(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static int disk_list(void *arg, const char *dir,
                     void (*each)(void *each_arg, const char *name),
                     void *each_arg)
{
    struct disk *d = arg;
    char copy[DISK_FILES][DISK_NAME];
    const char *sorted[DISK_FILES];
    size_t n = 0;

    (void)dir; /* there is only one */
    if (d->dead)
        return -EIO;
    for (int i = 0; i < DISK_FILES; i++)
        if (d->names[i].name[0]) {
            memcpy(copy[n], d->names[i].name, DISK_NAME);
            sorted[n] = copy[n];
            n++;
        }
    qsort(sorted, n, sizeof(sorted[0]), name_order);
    for (size_t i = 0; i < n; i++)
        each(each_arg, sorted[i]);
    return 0;
}

static int disk_lock(void *arg, int fd)
{
    struct disk_inode *n = fd_inode(arg, fd);

    if (n->locked)
        return -EWOULDBLOCK;
    n->locked = true;
    return 0;
}

void disk_init(struct disk *d, uint64_t seed)
{
    memset(d, 0, sizeof(*d));
    d->random = seed;
    d->io = (struct store_io){
        .arg = d,
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
        .random = disk_random,
    };
}

void disk_clear(struct disk *d)
{
    for (int i = 0; i < DISK_FILES; i++) {
        mem_free(d->inodes[i].data);
        mem_free(d->inodes[i].synced);
        mem_free(d->inodes[i].dirty);
    }
}

void disk_fail(struct disk *d)
{
    d->dead = true;
}

static void inode_crash(struct disk *d, struct disk_inode *n)
{
    bool new_size = disk_random(d) & 1;

    for (size_t i = 0; i < n->cap / DISK_SECTOR; i++) {
        char *now = n->data + i * DISK_SECTOR;
        char *kept = n->synced + i * DISK_SECTOR;

        if (n->dirty[i] && (disk_random(d) & 1)) {
            memcpy(kept, now, DISK_SECTOR);
            d->torn_sectors++;
        }
        memcpy(now, kept, DISK_SECTOR);
        n->dirty[i] = 0;
    }
    if (!new_size)
        n->size = n->synced_size;
    n->synced_size = n->size;
    if (n->size < n->cap) {
        memset(n->data + n->size, 0, n->cap - n->size);
        memset(n->synced + n->size, 0, n->cap - n->size);
    }
    n->locked = false;
}

void disk_crash(struct disk *d)
{
    int keep = (int)(disk_random(d) % (uint64_t)(d->changes + 1));

    memcpy(d->names, d->history[keep], sizeof(d->names));
    memcpy(d->history[0], d->names, sizeof(d->names));
    d->changes = 0;
    memset(d->fds, 0, sizeof(d->fds));
    for (int i = 0; i < DISK_FILES; i++)
        if (d->inodes[i].used)
            inode_crash(d, &d->inodes[i]);
    inodes_reap(d);
    d->dead = false;
}
