/* SPDX-License-Identifier: BSD-2-Clause */
#include "runner/cgroup.h"

#include "runner/memory.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* How long what a dead runner left may take to die. */
#define CGROUP_DEATH_MS 5000
/* Idle directories that are kept. */
#define CGROUP_IDLE_MAX 64

#define DIR_FLAGS (O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW)

/* ----------------------------------------------------------------- parsing */

/* mountinfo writes blanks and backslashes as three octal digits. */
static void copy_unescaped(char *out, size_t size, const char *from, size_t len)
{
    size_t o = 0;

    for (size_t i = 0; i < len && o + 1 < size; i++) {
        if (from[i] == '\\' && i + 3 < len) {
            out[o++] = (char)(((from[i + 1] - '0') << 6) |
                              ((from[i + 2] - '0') << 3) | (from[i + 3] - '0'));
            i += 3;
        } else {
            out[o++] = from[i];
        }
    }
    out[o] = '\0';
}

bool cgroup_parse_mount(const char *mountinfo, char *point, char *root,
                        size_t size)
{
    for (const char *line = mountinfo; *line;) {
        size_t len = strcspn(line, "\n");
        const char *type = memmem(line, len, " - cgroup2 ", 11);

        if (type) {
            /* id parent major:minor root point options ... - type */
            const char *field = line;
            size_t n[5];
            const char *at[5];

            for (int i = 0; i < 5; i++) {
                at[i] = field;
                n[i] = strcspn(field, " \n");
                field += n[i] + (field[n[i]] == ' ');
            }
            copy_unescaped(root, size, at[3], n[3]);
            copy_unescaped(point, size, at[4], n[4]);
            return n[3] > 0 && n[4] > 0;
        }
        line += len + (line[len] == '\n');
    }
    return false;
}

bool cgroup_parse_self(const char *text, char *path, size_t size)
{
    for (const char *line = text; *line;) {
        size_t len = strcspn(line, "\n");

        if (strncmp(line, "0::/", 4) == 0) {
            snprintf(path, size, "%.*s", (int)(len - 3), line + 3);
            return len - 3 < size;
        }
        line += len + (line[len] == '\n');
    }
    return false;
}

bool cgroup_file(const char *point, const char *root, const char *path,
                 char *out, size_t size)
{
    size_t len = strcmp(root, "/") == 0 ? 0 : strlen(root);
    const char *below = path + len;
    int n;

    if (strncmp(path, root, len) != 0 || (*below && *below != '/'))
        return false;
    if (strcmp(below, "/") == 0)
        below = "";
    n = snprintf(out, size, "%s%s", point, below);
    return n > 0 && (size_t)n < size;
}

/* ------------------------------------------------------------------- files */

static char *read_text(const char *file)
{
    struct buffer b = {0};
    char part[4096];
    int fd = open(file, O_RDONLY | O_CLOEXEC);
    ssize_t n;

    if (fd < 0)
        return NULL;
    while ((n = read(fd, part, sizeof(part))) > 0)
        buffer_append(&b, part, (size_t)n);
    close(fd);
    buffer_append(&b, "", 1);
    return b.data;
}

int cgroup_write(int dir, const char *file, const char *text)
{
    int fd = openat(dir, file, O_WRONLY | O_CLOEXEC);
    int rc = 0;

    if (fd < 0)
        return -errno;
    if (write(fd, text, strlen(text)) < 0)
        rc = -errno;
    close(fd);
    return rc;
}

/* Whether the text of a cgroup.events file says that somebody is in there, and
 * if it says that nobody is, and nothing else. */
static bool read_populated(int events, bool *calm)
{
    static const char nothing[] = "populated 0\nfrozen 0\n";
    char text[256];
    ssize_t n = pread(events, text, sizeof(text) - 1, 0);

    *calm = n == (ssize_t)sizeof(nothing) - 1 &&
            memcmp(text, nothing, sizeof(nothing) - 1) == 0;
    /* A cgroup that is gone has nobody in it. */
    if (n <= 0)
        return false;
    text[n] = '\0';
    return strstr(text, "populated 1") != NULL;
}

static void pause_ms(int ms)
{
    nanosleep(&(struct timespec){.tv_nsec = ms * 1000000L}, NULL);
}

/* Removes the cgroups below a directory, deepest first. What is busy stays. */
static void remove_below(int dir, int depth)
{
    int copy = openat(dir, ".", DIR_FLAGS);
    struct dirent *e;
    DIR *list;

    list = copy >= 0 ? fdopendir(copy) : NULL;
    if (!list)
        return;
    while ((e = readdir(list))) {
        int child;

        if (e->d_type != DT_DIR || strcmp(e->d_name, ".") == 0 ||
            strcmp(e->d_name, "..") == 0)
            continue;
        child = openat(dir, e->d_name, DIR_FLAGS);
        if (child >= 0) {
            if (depth < 64)
                remove_below(child, depth + 1);
            close(child);
        }
        (void)unlinkat(dir, e->d_name, AT_REMOVEDIR); /* tried at next start */
    }
    closedir(list);
}

/* ------------------------------------------------------- dead predecessors */

/* Kills what is in one directory that belonged to a runner, unless it lives:
 * a living runner holds a lock on its directory. */
static void bury(int place, const char *name)
{
    int dir = openat(place, name, DIR_FLAGS), events;
    bool calm;

    if (dir < 0)
        return;
    if (flock(dir, LOCK_EX | LOCK_NB) < 0) {
        close(dir);
        return;
    }
    (void)cgroup_write(dir, "cgroup.kill", "1"); /* seen below if it failed */
    events = openat(dir, "cgroup.events", O_RDONLY | O_CLOEXEC);
    for (int ms = 0; ms < CGROUP_DEATH_MS && read_populated(events, &calm);
         ms++)
        pause_ms(1);
    if (events >= 0)
        close(events);
    remove_below(dir, 0);
    (void)unlinkat(place, name, AT_REMOVEDIR); /* tried at next start */
    close(dir);
}

/* Whether a directory is named as the base of a runner is: yoke-NAME-PID. */
static bool is_base(const char *name)
{
    const char *dash = strrchr(name, '-');

    return strncmp(name, "yoke-", 5) == 0 && dash > name + 4 && dash[1] &&
           dash[1 + strspn(dash + 1, "0123456789")] == '\0';
}

static void bury_all(int place)
{
    int copy = openat(place, ".", DIR_FLAGS);
    struct dirent *e;
    DIR *list;

    list = copy >= 0 ? fdopendir(copy) : NULL;
    if (!list)
        return;
    while ((e = readdir(list))) {
        if (e->d_type == DT_DIR && is_base(e->d_name))
            bury(place, e->d_name);
    }
    closedir(list);
}

/* ------------------------------------------------------------------- start */

/* Finds the directory in which we may make cgroups, and its path as in
 * /proc/PID/cgroup. */
static int find_place(const char *place, char *file, char *path, char *why,
                      size_t why_size)
{
    char point[CGROUP_PATH_MAX], root[CGROUP_PATH_MAX];
    char *mounts = read_text("/proc/self/mountinfo");
    char *self = read_text("/proc/self/cgroup");
    bool automatic = strcmp(place, "auto") == 0;
    int rc = 0;

    if (!mounts || !self ||
        !cgroup_parse_mount(mounts, point, root, sizeof(point))) {
        snprintf(why, why_size, "cgroup v2 is not mounted");
        rc = -ENOENT;
    } else if (automatic) {
        if (!cgroup_parse_self(self, path, CGROUP_PATH_MAX) ||
            !cgroup_file(point, root, path, file, CGROUP_PATH_MAX)) {
            snprintf(why, why_size, "the own cgroup is not below %s", point);
            rc = -ENOENT;
        }
    } else {
        size_t len = strlen(point);
        const char *below = place + len;

        if (strncmp(place, point, len) != 0 || (*below && *below != '/')) {
            snprintf(why, why_size,
                     "%s is not below %s, where cgroup v2 is "
                     "mounted",
                     place, point);
            rc = -ENOENT;
        } else {
            snprintf(file, CGROUP_PATH_MAX, "%s", place);
            snprintf(path, CGROUP_PATH_MAX, "%s%s",
                     strcmp(root, "/") == 0 ? "" : root, below);
        }
    }
    if (rc == 0 && strcmp(path, "/") == 0)
        path[0] = '\0';
    free(mounts);
    free(self);
    return rc;
}

/* Moves us, and our parent if it owns the cgroups, to those that a directory
 * has. */
static int move_members(const struct cgroup *c, int dir, const char *procs)
{
    char owner[32];
    int rc = 0;

    snprintf(owner, sizeof(owner), "%d", (int)c->owner);
    if (c->owner == getppid())
        rc = cgroup_write(dir, procs, owner);
    return rc < 0 ? rc : cgroup_write(dir, procs, "0");
}

/* A cgroup that has members of its own cannot give controllers to the cgroups
 * below it (cgroup-v2, "No Internal Process Constraint"), so the runner moves
 * out of the way; the root is exempt. Where that is not allowed it stays. */
static void move_to_leaf(struct cgroup *c, int place, const char *file)
{
    if (mkdirat(place, "supervisor", 0755) < 0 && errno != EEXIST)
        return;
    if (move_members(c, place, "supervisor/cgroup.procs") == 0)
        c->home = memory_text(file, strlen(file));
    else
        (void)unlinkat(place, "supervisor", AT_REMOVEDIR); /* it is in use */
}

/* Makes and locks the base. A runner that starts at the same moment may take
 * it for a dead one's before it is locked: then it is made again. One that has
 * it for longer has our process id in another namespace. */
static int make_base(struct cgroup *c, int place, const char *name)
{
    int rc = -EAGAIN;

    for (int tries = 0; tries < 100; tries++) {
        struct stat here, there;
        int dir;

        if (mkdirat(place, name, 0755) < 0 && errno != EEXIST)
            return -errno;
        dir = openat(place, name, DIR_FLAGS);
        if (dir < 0) {
            rc = -errno;
            continue;
        }
        rc = -EAGAIN;
        if (flock(dir, LOCK_EX | LOCK_NB) < 0)
            rc = errno == EWOULDBLOCK ? -EBUSY : -errno;
        else if (fstat(dir, &here) == 0 &&
                 fstatat(place, name, &there, AT_SYMLINK_NOFOLLOW) == 0 &&
                 here.st_ino == there.st_ino) {
            c->base = dir;
            return 0;
        }
        close(dir);
        if (rc == -EBUSY)
            pause_ms(10);
    }
    return rc;
}

int cgroup_init(struct cgroup *c, const char *place, const char *name,
                pid_t owner, char *why, size_t why_size)
{
    char file[CGROUP_PATH_MAX], path[CGROUP_PATH_MAX], base[128];
    struct buffer text = {0};
    int dir, rc;

    *c = (struct cgroup){.base = -1, .notify = -1, .owner = owner};
    TAILQ_INIT(&c->idle);
    TAILQ_INIT(&c->busy);
    rc = find_place(place, file, path, why, why_size);
    if (rc < 0)
        return rc;
    dir = open(file, DIR_FLAGS);
    if (dir < 0) {
        rc = -errno;
        snprintf(why, why_size, "%.200s: %s", file, strerror(-rc));
        return rc;
    }
    bury_all(dir);
    snprintf(base, sizeof(base), "yoke-%s-%d", name, (int)owner);
    rc = make_base(c, dir, base);
    if (rc == 0 && faccessat(c->base, "cgroup.kill", W_OK, 0) < 0) {
        rc = -errno;
        (void)unlinkat(dir, base, AT_REMOVEDIR); /* nothing is in it */
    }
    if (rc == 0 && strcmp(place, "auto") == 0 && path[0])
        move_to_leaf(c, dir, file);
    close(dir);
    if (rc < 0) {
        snprintf(why, why_size, "%.200s/%s: %s", file, base,
                 rc == -EBUSY ? "another runner of this name has it; give it "
                                "another name"
                              : strerror(-rc));
        cgroup_clear(c);
        return rc;
    }
    c->notify = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
    buffer_append(&text, file, strlen(file));
    buffer_printf(&text, "/%s", base);
    buffer_append(&text, "", 1);
    c->base_file = text.data;
    text = (struct buffer){0};
    buffer_append(&text, path, strlen(path));
    buffer_printf(&text, "/%s", base);
    buffer_append(&text, "", 1);
    c->base_path = text.data;
    return 0;
}

/* ------------------------------------------------------------------ leaves */

static void leaf_free(struct cgroup *c, struct cgroup_leaf *leaf)
{
    char name[32];

    if (leaf->watch >= 0)
        (void)inotify_rm_watch(c->notify, leaf->watch); /* goes with the dir */
    remove_below(leaf->dir, 0);
    close(leaf->events);
    close(leaf->dir);
    snprintf(name, sizeof(name), "job-%lu", leaf->number);
    (void)unlinkat(c->base, name, AT_REMOVEDIR); /* else by the next runner */
    free(leaf->path);
    free(leaf);
}

static struct cgroup_leaf *leaf_new(struct cgroup *c)
{
    struct cgroup_leaf *leaf = memory_new(sizeof(*leaf));
    struct buffer path = {0};
    char name[32];

    leaf->number = ++c->last;
    leaf->watch = -1;
    leaf->events = -1;
    snprintf(name, sizeof(name), "job-%lu", leaf->number);
    leaf->dir = mkdirat(c->base, name, 0755) < 0
                    ? -1
                    : openat(c->base, name, DIR_FLAGS);
    if (leaf->dir >= 0)
        leaf->events = openat(leaf->dir, "cgroup.events",
                              O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (leaf->events < 0) {
        int saved = errno;

        if (leaf->dir >= 0)
            close(leaf->dir);
        (void)unlinkat(c->base, name, AT_REMOVEDIR); /* may not exist */
        free(leaf);
        errno = saved;
        return NULL;
    }
    buffer_append(&path, c->base_path, strlen(c->base_path));
    buffer_printf(&path, "/%s", name);
    buffer_append(&path, "", 1);
    leaf->path = path.data;
    return leaf;
}

struct cgroup_leaf *cgroup_take(struct cgroup *c,
                                const struct cgroup_bounds *bounds)
{
    struct cgroup_leaf *leaf = TAILQ_FIRST(&c->idle);
    int rc;

    if (leaf) {
        TAILQ_REMOVE(&c->idle, leaf, link);
        c->idle_count--;
    } else {
        leaf = leaf_new(c);
    }
    if (!leaf)
        return NULL;
    rc = cgroup_bind(c, leaf, bounds);
    if (rc < 0) {
        leaf_free(c, leaf);
        errno = -rc;
        return NULL;
    }
    leaf->calm = false;
    TAILQ_INSERT_TAIL(&c->busy, leaf, link);
    return leaf;
}

/* Nothing in it, nothing below it, not frozen: a job that ran as the same user
 * could have changed that. */
static bool leaf_is_pristine(const struct cgroup_leaf *leaf)
{
    struct stat st;

    return leaf->calm && fstat(leaf->dir, &st) == 0 && st.st_nlink == 2;
}

void cgroup_put(struct cgroup *c, struct cgroup_leaf *leaf, bool kept)
{
    TAILQ_REMOVE(&c->busy, leaf, link);
    leaf->owner = NULL;
    /* What was left in /dev/shm stays charged to it. */
    if (!kept || leaf->watch >= 0 || leaf->bounds[CGROUP_MEMORY] > 0 ||
        c->idle_count >= CGROUP_IDLE_MAX || !leaf_is_pristine(leaf)) {
        leaf_free(c, leaf);
        return;
    }
    /* The last one used is the first one taken: it is in the caches. */
    TAILQ_INSERT_HEAD(&c->idle, leaf, link);
    c->idle_count++;
}

bool cgroup_populated(struct cgroup_leaf *leaf)
{
    return read_populated(leaf->events, &leaf->calm);
}

bool cgroup_has_members(const struct cgroup_leaf *leaf)
{
    int fd = openat(leaf->dir, "cgroup.procs", O_RDONLY | O_CLOEXEC);
    struct stat st;
    char byte;
    bool any;

    /* Somebody may be in a cgroup that the job made below its own. */
    if (fstat(leaf->dir, &st) < 0 || st.st_nlink != 2) {
        if (fd >= 0)
            close(fd);
        return true;
    }
    any = fd < 0 || read(fd, &byte, 1) != 0;
    if (fd >= 0)
        close(fd);
    return any;
}

int cgroup_kill(const struct cgroup_leaf *leaf)
{
    return cgroup_write(leaf->dir, "cgroup.kill", "1");
}

void cgroup_watch(struct cgroup *c, struct cgroup_leaf *leaf)
{
    struct buffer path = {0};

    if (leaf->watch >= 0 || c->notify < 0)
        return;
    buffer_append(&path, c->base_file, strlen(c->base_file));
    buffer_printf(&path, "/job-%lu/cgroup.events", leaf->number);
    buffer_append(&path, "", 1);
    /* Without a watch its user's timer still finds out. */
    leaf->watch = inotify_add_watch(c->notify, path.data, IN_MODIFY);
    buffer_clear(&path);
}

void *cgroup_next_event(struct cgroup *c)
{
    /* One event at a time: what it leads to may free other leaves. */
    union {
        struct inotify_event event;
        char room[sizeof(struct inotify_event) + NAME_MAX + 1];
    } u;

    while (read(c->notify, &u, sizeof(struct inotify_event)) > 0) {
        struct cgroup_leaf *leaf;

        TAILQ_FOREACH(leaf, &c->busy, link)
        {
            if (leaf->watch == u.event.wd && leaf->owner)
                return leaf->owner;
        }
    }
    return NULL;
}

static void leave_leaf(const struct cgroup *c, const char *home)
{
    int dir = open(home, DIR_FLAGS);

    if (dir < 0)
        return;
    /* Another runner may still be in there. */
    if (move_members(c, dir, "cgroup.procs") == 0)
        (void)unlinkat(dir, "supervisor", AT_REMOVEDIR);
    close(dir);
}

void cgroup_clear(struct cgroup *c)
{
    if (c->base < 0)
        return;
    while (!TAILQ_EMPTY(&c->idle)) {
        struct cgroup_leaf *leaf = TAILQ_FIRST(&c->idle);

        TAILQ_REMOVE(&c->idle, leaf, link);
        leaf_free(c, leaf);
    }
    if (c->base_file) {
        remove_below(c->base, 0);
        (void)rmdir(c->base_file); /* else by the next runner */
    }
    close(c->base);
    if (c->notify >= 0)
        close(c->notify);
    if (c->home)
        leave_leaf(c, c->home);
    free(c->home);
    free(c->base_file);
    free(c->base_path);
    *c = (struct cgroup){.base = -1, .notify = -1};
    TAILQ_INIT(&c->idle);
    TAILQ_INIT(&c->busy);
}

/* --------------------------------------------------------- a dead one's owner
 */

void cgroup_kill_base(const char *base)
{
    int dir = open(base, DIR_FLAGS);

    if (dir < 0)
        return;
    (void)cgroup_write(dir, "cgroup.kill", "1"); /* the sweep finds the rest */
    close(dir);
}

void cgroup_bury(const char *base, const char *home)
{
    const struct cgroup c = {.owner = getpid()};
    const char *name = strrchr(base, '/') + 1;
    char place[CGROUP_PATH_MAX];
    int dir;

    snprintf(place, sizeof(place), "%.*s", (int)(name - base - 1), base);
    dir = open(place, DIR_FLAGS);
    if (dir >= 0) {
        bury(dir, name);
        close(dir);
    }
    if (*home)
        leave_leaf(&c, home);
}
