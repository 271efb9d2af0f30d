/* SPDX-License-Identifier: BSD-2-Clause */
#include "server/verify.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/mem.h"
#include "core/core.h"
#include "store/salvage.h"
#include "store/store.h"
#include "wire/id.h"

#define NO_BOUND (INT64_MAX / 1024) /* may be added to, and multiplied */

/* ------------------------------------------------------------- what is told */

int verify_complain(const char *path, const char *what)
{
    size_t len = strlen(path);
    bool named =
        strncmp(what, path, len) == 0 && (what[len] == '/' || what[len] == ':');

    if (named) /* it, or a file in it */
        fprintf(stderr, "yoked: %s\n", what);
    else
        fprintf(stderr, "yoked: %s: %s\n", path, what);
    return EXIT_FAILURE;
}

/* It may be the one around the journal. */
void verify_nothing_there(char text[STORE_TEXT_MAX], const char *dir,
                          const char *wanted)
{
    char inner[PATH_MAX + 16];
    struct stat st;

    (void)snprintf(inner, sizeof(inner), "%s%sjournal", dir,
                   dir[strlen(dir) - 1] == '/' ? "" : "/");
    if (lstat(inner, &st) == 0)
        (void)snprintf(text, STORE_TEXT_MAX, "no %s: expected %.400s", wanted,
                       inner);
    else
        (void)snprintf(text, STORE_TEXT_MAX,
                       "no %s: there is no file like 0000000001.yj", wanted);
}

static void print_time(int64_t ms)
{
    time_t seconds = (time_t)(ms / 1000);
    char text[32];
    struct tm tm;

    (void)gmtime_r(&seconds, &tm);
    (void)strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &tm);
    printf("%s.%03dZ", text, (int)(ms % 1000));
}

/* Of `yoke backup`. */
static void read_facts(const char *dir, struct verify_facts *f)
{
    char path[PATH_MAX + 16], line[128];
    FILE *file;

    *f = (struct verify_facts){.there = false};
    (void)snprintf(path, sizeof(path), "%s/backup", dir);
    file = fopen(path, "re");
    while (file && fgets(line, sizeof(line), file)) {
        (void)sscanf(line, "first-segment %" SCNu64, &f->first_segment);
        f->there |= sscanf(line, "last-entry %" SCNu64, &f->last_entry) == 1;
    }
    if (file)
        (void)fclose(file); /* only read */
}

static void print_id(char kind, uint64_t n)
{
    char text[ID_TEXT_MAX];
    size_t len = id_format(text, (struct id){.kind = kind, .n = n});

    printf("%.*s", (int)len, text);
}

static void left_out(void *arg, const struct core_left *left)
{
    struct verify *v = arg;
    const unsigned char *p = left->record;

    /* A whole journal has records of jobs that have ended since. */
    if (!left->wrong && v->salvage.damages == 0)
        return;
    v->refused += left->wrong != NULL;
    v->passed_over += left->wrong == NULL;
    printf("left-out entry %" PRIu64 " record %u id ", v->entry,
           (unsigned)left->type);
    print_id(ID_JOB, left->id);
    printf(": %s\n",
           left->wrong
               ? left->wrong
               : "job of a queue that is not known, or a group that ended");
    if (!v->left_out)
        return;
    fprintf(v->left_out, "%" PRIu64 " ", v->entry);
    for (size_t i = 0; i < left->len; i++)
        fprintf(v->left_out, "%02x", p[i]);
    fprintf(v->left_out, "\n");
}

static void end_hole(struct verify *v, bool more)
{
    if (!v->hole)
        return;
    v->hole = false;
    printf("missing entries %" PRIu64 " to %" PRIu64 " after ", v->from, v->to);
    print_time(v->after_ms);
    if (more) {
        printf(" before ");
        print_time(core_now_ms(v->core));
    }
    printf("\n");
}

static int take_entry(void *arg, const void *data, size_t len, uint32_t segment,
                      uint64_t sequence)
{
    struct verify *v = arg;
    char wrong[128] = "";
    int rc;

    v->entry = sequence;
    rc = core_salvage(v->core, data, len, segment, left_out, v, wrong);
    if (rc != 0)
        (void)snprintf(v->text, sizeof(v->text), "entry %" PRIu64 ": %s",
                       sequence, wrong);
    end_hole(v, true);
    return rc;
}

static void tell_damage(void *arg, const struct salvage_damage *d)
{
    struct verify *v = arg;

    core_lost(v->core);
    printf("damage %s offset %" PRIu64 " to %" PRIu64 " entry %" PRIu64
           ": %s\n",
           d->file, d->offset, d->to, d->entry, d->text);
}

static void tell_hole(void *arg, uint64_t first, uint64_t last)
{
    struct verify *v = arg;

    end_hole(v, false);
    v->missing += last - first + 1;
    v->from = first;
    v->to = last;
    v->after_ms = core_now_ms(v->core);
    v->hole = true;
}

static void print_counts(const struct verify *v)
{
    const struct salvage *s = &v->salvage;
    struct core_stats n;

    core_stats(v->core, &n);
    printf("segments %" PRIu32 "\nfirst-segment %" PRIu32
           "\nlast-segment %" PRIu32 "\nentries %" PRIu64
           "\nfirst-entry %" PRIu64 "\nlast-entry %" PRIu64 "\nbytes %" PRIu64
           "\ntorn-bytes %" PRIu64 "\nmissing-entries %" PRIu64
           "\nleft-out-records %" PRIu64 "\nlast-time ",
           s->segments, s->first_segment, s->last_segment, s->entries, s->first,
           s->last, s->bytes, s->torn_bytes, v->missing,
           v->refused + v->passed_over);
    print_time(core_now_ms(v->core));
    printf("\nqueues %" PRId64 "\nlimiters %" PRId64 "\ngroups %" PRId64
           "\nsessions %" PRId64 "\njobs %" PRId64 "\ndelayed %" PRId64
           "\nready %" PRId64 "\nrunning %" PRId64 "\ncancelling %" PRId64
           "\njoining %" PRId64 "\ndelivering %" PRId64 "\nfinished %" PRId64
           "\ndead %" PRId64 "\n",
           n.queues, n.limiters, n.groups, n.sessions, n.jobs, n.delayed,
           n.ready + n.parked, n.running, n.cancelling, n.joining, n.delivering,
           n.finished, n.dead);
    if (s->open_end)
        printf("doubt: what followed the damage at the end of the last "
               "segment is not known\n");
    if (s->damages)
        printf(
            "doubt: jobs may have started or ended in what is missing; those "
            "shown as waiting or running may run once more\n");
}

/* ---------------------------------------------------------------- reading */

struct core *verify_core(void)
{
    struct core_limits l;

    /* Nothing is forgotten to make room. */
    core_limits_init(&l);
    l.payload_max = l.result_max = l.memory_max = l.retain_bytes = NO_BOUND;
    l.queues_max = l.limiters_max = l.groups_max = l.members_max = NO_BOUND;
    l.depth_max = l.retain_jobs = l.numbers_max = l.image_max = NO_BOUND;
    return core_new(&l);
}

void verify_init(struct verify *v, const char *dir, const char *facts,
                 FILE *left_out_to)
{
    *v = (struct verify){.salvage = {.dir = dir,
                                     .entry = take_entry,
                                     .damage = tell_damage,
                                     .hole = tell_hole},
                         .core = verify_core(),
                         .left_out = left_out_to};
    v->salvage.arg = v;
    read_facts(facts, &v->facts);
}

static void compare_facts(struct verify *v)
{
    const struct salvage *s = &v->salvage;
    const struct verify_facts *f = &v->facts;

    /* A daemon may have gone on with it; of nothing nothing is missing. */
    if (!f->there || s->segments == 0 || s->last > f->last_entry)
        return;
    if (s->last < f->last_entry)
        tell_hole(v, s->last + 1, f->last_entry);
    v->beheaded = s->first_segment > f->first_segment;
    if (v->beheaded)
        printf("missing segments %" PRIu64 " to %" PRIu32 "\n",
               f->first_segment, s->first_segment - 1);
}

static int read_all(struct verify *v)
{
    int rc = salvage_read(&v->salvage, v->text);

    if (rc == 0)
        compare_facts(v);
    end_hole(v, false);
    if (rc == 0 && v->salvage.segments == 0) {
        verify_nothing_there(v->text, v->salvage.dir, "journal");
        rc = -ENOENT;
    }
    if (rc == 0)
        core_replay_end(v->core);
    return rc;
}

static bool is_damaged(const struct verify *v)
{
    return v->salvage.damages > 0 || v->refused > 0 || v->missing > 0 ||
           v->beheaded;
}

int verify_lock(const char *dir, int flags, int how)
{
    char path[PATH_MAX + 16];
    int fd;

    (void)snprintf(path, sizeof(path), "%s/lock", dir);
    fd = open(path, flags | O_CLOEXEC, 0600);
    /* No daemon has ever had it: any will do, to hold nothing. */
    if (fd < 0 && errno == ENOENT && !(flags & O_CREAT))
        fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) {
        /* It is made where there is none: what is missing is the directory. */
        (void)verify_complain(errno == ENOENT || errno == ENOTDIR ? dir : path,
                              strerror(errno));
        return -1;
    }
    if (flock(fd, how | LOCK_NB) == 0)
        return fd;
    (void)verify_complain(
        dir, errno == EWOULDBLOCK
                 ? "in use: a daemon has the lock of this journal, "
                   "or something that reads or repairs it"
                 : strerror(errno));
    (void)close(fd); /* it holds nothing */
    return -1;
}

static void list_one(void *arg, const struct core_thing *t)
{
    (void)arg;
    printf("%s ", t->is_group ? "group" : "job");
    print_id(t->is_group ? ID_GROUP : ID_JOB, t->id);
    if (!t->is_group)
        printf(" %.*s", (int)t->queue.len, t->queue.p);
    printf(" %s", t->state);
    if (!t->is_group)
        printf(" %" PRIu32, t->attempt);
    printf("\n");
}

int verify_read(struct verify *v, bool jobs)
{
    if (read_all(v) != 0)
        return verify_complain(v->salvage.dir, v->text);
    if (jobs)
        core_each(v->core, list_one, NULL);
    print_counts(v);
    printf("journal %s\n", is_damaged(v)           ? "damaged"
                           : v->salvage.torn_bytes ? "whole, with a torn tail"
                                                   : "whole");
    if (fflush(stdout) != 0 || ferror(stdout))
        return verify_complain("standard output", strerror(errno));
    return is_damaged(v) ? VERIFY_DAMAGED : EXIT_SUCCESS;
}

void verify_clear(struct verify *v)
{
    core_free(v->core);
}

bool verify_unfinished(const char *dir)
{
    char path[PATH_MAX + 32];
    struct stat st;

    (void)snprintf(path, sizeof(path), "%s/" VERIFY_UNFINISHED, dir);
    return lstat(path, &st) == 0;
}

bool verify_refuse(const char *dir)
{
    if (!verify_unfinished(dir))
        return false;
    (void)verify_complain(dir,
                          "a backup or a restore was broken off in here: begin "
                          "it again");
    return true;
}

int verify_journal(const char *dir, bool jobs)
{
    struct verify v;
    int fd = verify_lock(dir, O_RDONLY, LOCK_SH), status;

    if (fd < 0 || verify_refuse(dir))
        return EXIT_FAILURE;
    verify_init(&v, dir, dir, NULL);
    status = verify_read(&v, jobs);
    verify_clear(&v);
    (void)close(fd); /* only locked */
    return status;
}
