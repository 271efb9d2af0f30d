/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * backup - a copy of the daemon's journal, taken while it runs.
 *
 *     DIR.part  is written, with a file `unfinished` in it, and locked; when
 *               all is there, compared and synced, that is called `whole`
 *     DIR       is its name then, and `whole` goes
 *
 * What one that was killed has left behind as DIR.part is begun again: one of
 * the two files says that it is no journal that somebody has called so. One
 * that fails, or gets a signal, leaves nothing.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include <xxhash.h>

#include "cli/cli.h"
#include "cli/output.h"
#include "cli/signals.h"
#include "cli/text.h"

#define UNFINISHED "unfinished"
#define WHOLE      "whole"
#define FACTS      "backup"
#define LOCK       "lock"
#define SUFFIX     ".yj"

struct backup {
    char *dir, *part; /* without slashes at the end */
    int part_fd, lock_fd;
    bool ours; /* part_fd: what is in there is of this backup */
    yoke *y;
    int64_t first, last, entry, bytes_most; /* as the daemon has said */
    /* The file that is written now. */
    int fd; /* -1: none */
    char name[32];
    int64_t segment, size;
    XXH3_state_t *hash;
    int64_t segments, bytes; /* all that were */
    int64_t shown_ms;
    int64_t rate, begun_ms; /* bytes a second; 0: as fast as it goes */
};

#define OPTION_RATE 256
#define SILENT_MS   500 /* at most: backup-idle is a second or more */

const struct option_row backup_options[] = {
    {OPTION_RATE, "rate", "SIZE", "read no more than that in a second"},
    {0, NULL, NULL, NULL},
};

/* ------------------------------------------------------------ directories */

static bool is_segment(const char *name)
{
    return strlen(name) == 10 + strlen(SUFFIX) &&
           strspn(name, "0123456789") == 10 && strcmp(name + 10, SUFFIX) == 0;
}

/* Calls `each` with every name in DIR.part; ends with the first that is not 0.
 * 0 or -errno. */
static int each_name(struct backup *b,
                     int (*each)(struct backup *b, const char *name))
{
    int fd = openat(b->part_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    const struct dirent *e;
    int rc = dir == NULL ? -errno : 0;

    while (rc == 0 && (e = readdir(dir)) != NULL)
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
            rc = each(b, e->d_name);
    if (dir != NULL)
        (void)closedir(dir); /* only read */
    return rc;
}

static bool is_marked(const struct backup *b)
{
    return faccessat(b->part_fd, UNFINISHED, F_OK, 0) == 0 ||
           faccessat(b->part_fd, WHOLE, F_OK, 0) == 0;
}

static int look_at(struct backup *b, const char *name)
{
    if (strcmp(name, LOCK) == 0 || strcmp(name, UNFINISHED) == 0 ||
        strcmp(name, WHOLE) == 0)
        return 0;
    return (is_segment(name) || strcmp(name, FACTS) == 0) && is_marked(b)
               ? 0
               : -EEXIST;
}

static int remove_one(struct backup *b, const char *name)
{
    if (!is_segment(name) && strcmp(name, FACTS) != 0)
        return 0;
    return unlinkat(b->part_fd, name, 0) < 0 ? -errno : 0;
}

/* The line that show() writes. */
static void hide(void)
{
    if (output_columns(stderr) > 0)
        fprintf(stderr, "\r\033[K");
}

/* Leaves nothing behind, as far as that goes: what stays is begun again. */
static void discard(struct backup *b)
{
    hide();
    if (!b->ours || each_name(b, remove_one) != 0)
        return;
    (void)unlinkat(b->part_fd, UNFINISHED, 0);
    (void)unlinkat(b->part_fd, WHOLE, 0);
    (void)unlinkat(b->part_fd, LOCK, 0);
    (void)rmdir(b->part);
}

__attribute__((format(printf, 2, 3), noreturn)) static void give_up(
    struct backup *b, const char *fmt, ...)
{
    char *why = NULL;
    va_list args;

    va_start(args, fmt);
    if (vasprintf(&why, fmt, args) < 0)
        why = NULL;
    va_end(args);
    discard(b);
    cli_warn("no backup was made: %s", why != NULL ? why : fmt);
    free(why);
    exit(EXIT_FAILED);
}

static bool exists(const char *path)
{
    struct stat st;

    return lstat(path, &st) == 0 || errno != ENOENT;
}

static void name_all(struct backup *b, const char *dir)
{
    size_t len = strlen(dir);
    struct stat st;

    if (len == 0)
        give_up(b, "its directory needs a name");
    while (len > 1 && dir[len - 1] == '/')
        len--;
    b->dir = text_copyn(dir, len);
    if (asprintf(&b->part, "%s.part", b->dir) < 0)
        abort();
    if (lstat(b->dir, &st) == 0)
        give_up(b, "%s is there already", b->dir);
    if (errno != ENOENT)
        give_up(b, "%s: %s", b->dir, strerror(errno));
}

/* Is what we have locked still what is called DIR.part? */
static bool is_in_place(const struct backup *b)
{
    struct stat ours, named;

    return fstat(b->part_fd, &ours) == 0 && stat(b->part, &named) == 0 &&
           ours.st_dev == named.st_dev && ours.st_ino == named.st_ino;
}

static void make_part(struct backup *b)
{
    bool fresh = mkdir(b->part, 0700) == 0;
    int fd, rc;

    if (!fresh && errno != EEXIST)
        give_up(b, "%s: %s", b->part, strerror(errno));
    b->part_fd = open(b->part, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    b->lock_fd = b->part_fd < 0
                     ? -1
                     : openat(b->part_fd, LOCK,
                              O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (b->lock_fd < 0)
        give_up(b, "%s: %s", b->part, strerror(errno));
    if (flock(b->lock_fd, LOCK_EX | LOCK_NB) < 0)
        give_up(b, "%s: %s", b->part,
                errno == EWOULDBLOCK ? "another backup is being written there"
                                     : strerror(errno));
    if (!is_in_place(b) || exists(b->dir))
        give_up(b, "%s was made by another backup just now", b->dir);
    rc = each_name(b, look_at);
    if (rc == 0)
        rc = each_name(b, remove_one);
    if (rc == -EEXIST)
        give_up(b, "%s is there already, and is no unfinished backup", b->part);
    b->ours = true;
    fd = openat(b->part_fd, UNFINISHED,
                O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (rc < 0 || fd < 0)
        give_up(b, "%s: %s", b->part, strerror(rc < 0 ? -rc : errno));
    (void)close(fd); /* empty */
}

static void sync_path(struct backup *b, const char *path)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (fd < 0 || fsync(fd) < 0)
        give_up(b, "%s: %s", path, strerror(errno));
    (void)close(fd); /* synced */
}

static int rename_part(const struct backup *b)
{
    if (renameat2(AT_FDCWD, b->part, AT_FDCWD, b->dir, RENAME_NOREPLACE) == 0)
        return 0;
    if (errno != EINVAL && errno != ENOSYS)
        return -errno;
    /* The file system cannot: what is called DIR by now may be no more than an
     * empty directory then. */
    if (exists(b->dir))
        return -EEXIST;
    return rename(b->part, b->dir) < 0 ? -errno : 0;
}

static void put_in_place(struct backup *b)
{
    char *slash = strrchr(b->dir, '/');
    char *parent = slash == NULL
                       ? text_copy(".")
                       : text_copyn(b->dir, (size_t)(slash - b->dir) + 1);
    int rc;

    if (renameat(b->part_fd, UNFINISHED, b->part_fd, WHOLE) < 0 ||
        fsync(b->part_fd) < 0)
        give_up(b, "%s: %s", b->part, strerror(errno));
    rc = rename_part(b);
    if (rc < 0)
        give_up(b, "%s: %s", b->dir, strerror(-rc));
    b->ours = false;
    sync_path(b, parent);
    (void)unlinkat(b->part_fd, WHOLE, 0); /* what stays harms nobody */
    free(parent);
}

/* ------------------------------------------------------------------ pieces */

static void write_all(struct backup *b, const void *data, size_t len)
{
    int rc = output_write(b->fd, data, len);

    if (rc < 0)
        give_up(b, "%s/%s: %s", b->part, b->name, strerror(-rc));
}

static void open_file(struct backup *b, const char *name)
{
    (void)snprintf(b->name, sizeof(b->name), "%s", name);
    b->fd =
        openat(b->part_fd, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (b->fd < 0)
        give_up(b, "%s/%s: %s", b->part, name, strerror(errno));
}

static void close_file(struct backup *b)
{
    if (fsync(b->fd) < 0 || close(b->fd) < 0)
        give_up(b, "%s/%s: %s", b->part, b->name, strerror(errno));
    b->fd = -1;
}

static void ask(struct cli *c, struct backup *b, const char *command,
                const char *word, struct yoke_value **reply)
{
    int status = yoke_commandl(b->y, reply, command, word, (char *)NULL);

    if (status == 0)
        return;
    discard(b);
    if (signals_count() > 0) {
        cli_warn("no backup was made: %s", signals_reason());
        exit(EXIT_SIGNAL + signals_first());
    }
    cli_fail(c, b->y, status, "no backup was made");
}

static void end_segment(struct backup *b, const char *check)
{
    char ours[17];

    (void)snprintf(ours, sizeof(ours), "%016" PRIx64,
                   (uint64_t)XXH3_64bits_digest(b->hash));
    if (strcmp(ours, check) != 0)
        give_up(b, "%s arrived otherwise than it was sent", b->name);
    close_file(b);
    b->segments++;
    b->bytes += b->size;
}

static void show(struct backup *b)
{
    int64_t now_ms = cli_monotonic_ms();
    struct text done = {0}, all = {0};

    if (output_columns(stderr) == 0 || now_ms - b->shown_ms < 200)
        return;
    b->shown_ms = now_ms;
    output_size(&done, b->bytes + (b->fd >= 0 ? b->size : 0));
    output_size(&all, b->bytes_most);
    fprintf(stderr, "\r%s of at most %s\033[K", text_str(&done),
            text_str(&all));
    text_clear(&done);
    text_clear(&all);
}

static void take_piece(struct backup *b, const struct yoke_value *piece)
{
    const struct yoke_value *bytes = yoke_value_get(piece, "bytes");
    const char *check = output_str(piece, "check");
    int64_t segment = output_int(piece, "segment", -1);
    int64_t offset = output_int(piece, "offset", -1);
    char name[32];

    if (b->fd < 0) {
        if (segment != b->first + b->segments)
            segment = -1;
        (void)snprintf(name, sizeof(name), "%010" PRId64 SUFFIX, segment);
        b->segment = segment;
        b->size = 0;
    }
    if (segment < 0 || segment != b->segment || offset != b->size ||
        bytes == NULL || bytes->kind != YOKE_STR)
        give_up(b, "the daemon has sent another piece than the next one");
    if (b->fd < 0) {
        open_file(b, name);
        (void)XXH3_64bits_reset(b->hash); /* cannot fail */
    }
    write_all(b, bytes->s.data, bytes->s.len);
    (void)XXH3_64bits_update(b->hash, bytes->s.data, bytes->s.len);
    b->size += (int64_t)bytes->s.len;
    if (check != NULL && *check != '\0')
        end_segment(b, check);
    show(b);
}

/* What a restore compares with: that the last segments of a journal are missing
 * cannot be seen from the others. */
static void write_facts(struct backup *b)
{
    time_t now = time(NULL);
    struct text facts = {0};
    char when[32];
    struct tm tm;

    (void)gmtime_r(&now, &tm);
    (void)strftime(when, sizeof(when), "%Y-%m-%dT%H:%M:%SZ", &tm);
    text_addf(&facts,
              "first-segment %" PRId64 "\nlast-segment %" PRId64
              "\nlast-entry %" PRId64 "\nbytes %" PRId64 "\ntime %s\n",
              b->first, b->last, b->entry, b->bytes, when);
    open_file(b, FACTS);
    write_all(b, text_str(&facts), strlen(text_str(&facts)));
    close_file(b);
    text_clear(&facts);
}

static void begin(struct cli *c, struct backup *b)
{
    struct yoke_value *reply = NULL;

    ask(c, b, "BACKUP", "START", &reply);
    b->first = output_int(reply, "first_segment", -1);
    b->last = output_int(reply, "last_segment", -1);
    b->entry = output_int(reply, "last_entry", -1);
    b->bytes_most = output_int(reply, "bytes", 0);
    yoke_value_free(reply);
    if (b->first < 0 || b->last < b->first || b->entry < 0)
        give_up(b, "the daemon does not say what is in it");
}

static int64_t pause_ms(const struct backup *b)
{
    int64_t bytes = b->bytes + (b->fd >= 0 ? b->size : 0);
    int64_t ms = b->rate > 0
                     ? bytes / b->rate * 1000 + bytes % b->rate * 1000 / b->rate
                     : 0;

    return b->begun_ms + ms - cli_monotonic_ms();
}

/* The disk is that of the daemon, which is to be quick meanwhile. It does not
 * wait for ever for who is silent. */
static void pace(struct cli *c, struct backup *b)
{
    int64_t left_ms;

    while ((left_ms = pause_ms(b)) > 0) {
        int64_t ms = left_ms < SILENT_MS ? left_ms : SILENT_MS;
        struct timespec t = {.tv_sec = ms / 1000,
                             .tv_nsec = ms % 1000 * 1000000};
        struct yoke_value *reply = NULL;

        (void)nanosleep(&t, NULL); /* a signal makes it shorter */
        if (ms == left_ms)
            continue;
        ask(c, b, "PING", NULL, &reply);
        yoke_value_free(reply);
    }
}

static void take_all(struct cli *c, struct backup *b)
{
    bool more = true;

    while (more) {
        struct yoke_value *reply = NULL;

        ask(c, b, "BACKUP", "NEXT", &reply);
        more = reply->kind != YOKE_NULL;
        if (more)
            take_piece(b, reply);
        yoke_value_free(reply);
        pace(c, b);
    }
    if (b->fd >= 0 || b->segments != b->last - b->first + 1)
        give_up(b, "the daemon has sent less than it had said");
    hide();
}

int backup_main(struct cli *c)
{
    struct backup b = {.part_fd = -1, .lock_fd = -1, .fd = -1};
    struct text size = {0};

    while (options_next(c) != 0) {
        b.rate = options_size(c);
        if (b.rate <= 0 || b.rate > INT64_MAX / 1000)
            cli_usage(c, "--rate: expected at least 1 byte in a second");
    }
    options_operands(c, 1, 1);
    name_all(&b, c->argv[0]);
    b.hash = XXH3_createState();
    if (b.hash == NULL)
        abort();
    b.y = cli_connect(c);
    signals_catch();
    signals_interrupt(b.y);
    make_part(&b);
    b.begun_ms = cli_monotonic_ms();
    begin(c, &b);
    take_all(c, &b);
    write_facts(&b);
    put_in_place(&b);
    if (c->json) {
        output_json(json_pack("{s:s, s:I, s:I, s:I}", "dir", b.dir, "segments",
                              (json_int_t)b.segments, "bytes",
                              (json_int_t)b.bytes, "last_entry",
                              (json_int_t)b.entry));
    } else {
        output_size(&size, b.bytes);
        printf("%s in %" PRId64 " segment%s, all up to entry %" PRId64 ": %s\n",
               text_str(&size), b.segments, b.segments == 1 ? "" : "s", b.entry,
               b.dir);
    }
    yoke_close(b.y);
    text_clear(&size);
    XXH3_freeState(b.hash);
    (void)close(b.lock_fd); /* only locked */
    (void)close(b.part_fd); /* synced */
    free(b.dir);
    free(b.part);
    return 0;
}
