/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * store - where records wait for a restart: append, replay, trim.
 *
 * Knows:     entries (runs of bytes), their order, whether they are durable.
 * Never:     what an entry means, who waits for it.
 * Threads:   all calls from one thread. A store may have helper threads that
 *            only write, sync, and make room.
 * Errors:    0 or -errno. A store never logs; what a human should read is
 *            returned as text.
 *
 * Order of calls: open, store_replay to its end, then append / commit /
 * trim / tick in any order, then store_close.
 *
 * An entry is atomic: after a crash it is replayed whole or not at all, and
 * only if every entry before it is replayed too. An entry that
 * s->durable has reported is always replayed.
 *
 * Entries go to numbered segments, which only count up. Trimming works on
 * whole segments from the oldest on, never from the middle: dropping a newer
 * record before an older one could bring something back to life.
 */
#ifndef YOKE_STORE_H
#define YOKE_STORE_H

#include "base/base.h"

#define STORE_TEXT_MAX 512

enum store_sync {
    STORE_SYNC_ALWAYS,   /* durable means on the disk (fdatasync returned) */
    STORE_SYNC_INTERVAL, /* handed to the kernel; synced every interval_ms */
    STORE_SYNC_NEVER,    /* handed to the kernel */
};

struct store_stats {
    uint64_t entries;       /* appended since open */
    uint64_t bytes;         /* appended since open, framing included */
    uint64_t syncs;         /* completed since open */
    uint64_t sync_us_total; /* time spent in them */
    uint64_t sync_us_max;
    uint64_t disk_bytes; /* size of all files, spares included */
    uint64_t disk_max;   /* its bound; 0: none */
    uint32_t segments;   /* files in use, spares not included */
    uint32_t pinned;     /* of these, not needed but pinned */
    uint32_t first_segment, last_segment;
    uint64_t replayed_entries, replayed_bytes;
    uint64_t replay_size, replay_done; /* bytes of files, zeros included: in
                                        * all, and gone through */
    uint64_t torn_bytes;               /* cut off the tail at replay */
    uint64_t used_bytes; /* from the oldest segment to the last entry */
    uint64_t segment_bytes;
    uint64_t scanned_bytes; /* by store_scan, ... */
    uint32_t scan_segment;  /* ... which reads on here */
    uint64_t reads;         /* of single entries, by store_read, ... */
    uint64_t read_bytes;    /* ... and what they were in all */
    uint32_t reads_put_off; /* not possible now, and tried again */
};

/* Where an entry lies: the offset of its frame in a segment. */
struct store_place {
    uint32_t segment;
    uint32_t offset; /* 0: not known; store_read cannot be asked for it */
};

static inline bool store_place_before(struct store_place a,
                                      struct store_place b)
{
    return a.segment < b.segment ||
           (a.segment == b.segment && a.offset < b.offset);
}

#define STORE_UNPINNED UINT32_MAX

/* What is durable, as files: whole segments and a part of the last. */
struct store_extent {
    const char *dir;      /* lent by the store; NULL: there are no files */
    uint32_t first, last; /* segments */
    uint64_t end;         /* in the last: behind the last durable entry */
    uint64_t bytes;       /* of all that, about */
    uint64_t entry;       /* its sequence number */
};

/* One entry at replay. `data` is valid during the call only. Returns 0, or
 * -errno to stop the replay, which store_replay then returns. */
typedef int store_replay_fn(void *arg, const void *data, size_t len,
                            struct store_place place);

/* What came of a store_read. */
struct store_answer {
    struct store_place place;
    int error;        /* 0, or -errno: -EBADMSG and -EIO are damage, -ENOENT a
                       * segment that was trimmed meanwhile; -EAGAIN: it cannot
                       * be read now, and another answer will come */
    const char *data; /* of the entry, or a text that says what is wrong (with
                       * EAGAIN only of the first); */
    size_t len;       /* lent until the next store_take or store_close */
};

struct store;

/* The contract; memory.c and journal.c fill it in. */
struct store_ops {
    int (*replay)(struct store *s, uint64_t most, store_replay_fn *fn,
                  void *arg, char text[STORE_TEXT_MAX]);
    int (*append)(struct store *s, const void *data, size_t len, uint64_t *pos);
    void (*commit)(struct store *s);
    int (*error)(const struct store *s, char text[STORE_TEXT_MAX]);
    void (*trim)(struct store *s, uint32_t segment);
    void (*extent)(const struct store *s, struct store_extent *out);
    void (*pin)(struct store *s, uint32_t segment);
    void (*bound)(struct store *s, uint64_t disk_max);
    int (*scan)(struct store *s, size_t bytes, store_replay_fn *fn, void *arg,
                size_t *got, char text[STORE_TEXT_MAX]);
    void (*read)(struct store *s, struct store_place place);
    bool (*take)(struct store *s, struct store_answer *out);
    void (*tick)(struct store *s);
    void (*stats)(const struct store *s, struct store_stats *out);
    void (*close)(struct store *s);
};

/* The part every store shares, so that the hot questions cost no call. Only
 * the store itself writes it, on the thread of the caller. */
struct store {
    const struct store_ops *ops;
    uint64_t appended;        /* position after the last append */
    uint64_t durable;         /* all entries up to here are durable */
    uint32_t segment;         /* where the next append goes, at the earliest */
    uint32_t sync_us;         /* about what the sync of a commit takes; 0: it
                               * does not sync, or has not yet */
    struct store_place place; /* of the last append; offset 0: it waits for
                               * room, or the store cannot read */
    bool narrow;     /* there is little room: refuse what is new, so that all
                      * else goes on; so it is while full */
    bool full;       /* no room to extend: refuse what is new, finish the
                      * rest (a reserve is kept for that) */
    bool bounded;    /* while narrow: what is reached is disk_max */
    uint64_t room;   /* while narrow: bytes of entries and their frames (16
                      * each) that there is room for; a little more is kept for
                      * the last one */
    uint32_t pinned; /* segments from here on are not removed */
    bool held;       /* entries wait for room, in memory */
    bool busy;       /* a commit is under way, or waits for room */
    int fd;          /* readable when a commit or a read has ended; -1:
                      * never */
};

/*
 * Replays the entries in order, about `most` bytes of them, at least one. 1:
 * there may be more, call again; until then nothing but store_stats and
 * store_close is allowed. 0: ready for appends; a torn tail has been cut off
 * (see torn_bytes). -EBADMSG: damage that is no torn tail; `text` says where,
 * nothing was changed. Other errors: `text` names the file.
 */
static inline int store_replay_some(struct store *s, uint64_t most,
                                    store_replay_fn *fn, void *arg,
                                    char text[STORE_TEXT_MAX])
{
    return s->ops->replay(s, most, fn, arg, text);
}

/* Replays all of them. */
static inline int store_replay(struct store *s, store_replay_fn *fn, void *arg,
                               char text[STORE_TEXT_MAX])
{
    int rc;

    do
        rc = store_replay_some(s, UINT64_MAX, fn, arg, text);
    while (rc > 0);
    return rc;
}

/*
 * Append one entry (1 byte to 16 MiB); copies it. It is durable once
 * s->durable >= *pos. When not even the reserve has room for it, it waits in
 * memory, with all that follow, until the disk has (s->held). -EMSGSIZE: it
 * does not fit in a segment; nothing changed. -EIO: the store has failed before
 * (see store_error).
 */
static inline int store_append(struct store *s, const void *data, size_t len,
                               uint64_t *pos)
{
    return s->ops->append(s, data, len, pos);
}

/*
 * Start to make everything appended so far durable. May have ended on return
 * (look at s->durable) or end later: then s->fd becomes readable and
 * store_tick() brings s->durable up to date. While s->busy, a further call
 * does nothing: call again when the one under way has ended.
 */
static inline void store_commit(struct store *s)
{
    s->ops->commit(s);
}

/* Collect what the helper thread did: updates durable, busy, full, segment.
 * Call it when fd is readable and at least once a second. */
static inline void store_tick(struct store *s)
{
    s->ops->tick(s);
}

/* 0, or -errno of the failed write or sync and a text. It is final: the
 * caller must stop acknowledging and end the process; nothing is retried. */
static inline int store_error(const struct store *s, char text[STORE_TEXT_MAX])
{
    return s->ops->error(s, text);
}

/* No entry in a segment before `segment` is needed any more. The segment that
 * takes appends is never removed. */
static inline void store_trim(struct store *s, uint32_t segment)
{
    s->ops->trim(s, segment);
}

static inline void store_extent(const struct store *s, struct store_extent *out)
{
    s->ops->extent(s, out);
}

/* Segments from that one on stay although they are trimmed, until the next call
 * or until there is no room for another segment: then s->pinned is
 * STORE_UNPINNED again. */
static inline void store_pin(struct store *s, uint32_t segment)
{
    s->ops->pin(s, segment);
}

/* The files may take that many bytes together, as disk_max of the options;
 * 0: no bound. */
static inline void store_bound(struct store *s, uint64_t disk_max)
{
    s->ops->bound(s, disk_max);
}

/*
 * Reads on in the oldest segments, from where the last call ended: entries of
 * about so many bytes, for compaction. *got = their bytes; 0: all entries
 * before the segment of the last durable one have been read. fn may append, and
 * trim the segment that is being read. -EBADMSG: damage, `text` says where;
 * other errors likewise.
 */
static inline int store_scan(struct store *s, size_t bytes, store_replay_fn *fn,
                             void *arg, size_t *got, char text[STORE_TEXT_MAX])
{
    return s->ops->scan(s, bytes, fn, arg, got, text);
}

/*
 * Asks for the entry at a place that s->place or a replay has named, durable or
 * not. It is answered some time after it is on the disk, not before the next
 * store_tick. What is trimmed meanwhile may be answered as damaged, too.
 */
static inline void store_read(struct store *s, struct store_place place)
{
    s->ops->read(s, place);
}

/* An answer that has come; false: none. */
static inline bool store_take(struct store *s, struct store_answer *out)
{
    return s->ops->take(s, out);
}

static inline void store_stats(const struct store *s, struct store_stats *out)
{
    s->ops->stats(s, out);
}

/* Commits what is appended, waits for it, and frees; what waits for room is
 * lost. NULL is allowed. */
static inline void store_close(struct store *s)
{
    if (s)
        s->ops->close(s);
}

/* Keeps nothing: durable as soon as appended. For tests, and for users whose
 * jobs need not survive a restart. */
struct store *store_memory_open(void);

/*
 * Seam for the journal's I/O: the simulator replaces it. Each function has the
 * contract of the system call and returns its result, or -errno.
 */
struct store_io {
    void *arg;
    int (*open)(void *arg, const char *path, int flags, unsigned mode);
    int (*close)(void *arg, int fd);
    int64_t (*pread)(void *arg, int fd, void *to, size_t len, int64_t offset);
    int64_t (*pwrite)(void *arg, int fd, const void *from, size_t len,
                      int64_t offset);
    int (*fdatasync)(void *arg, int fd);
    int (*fsync)(void *arg, int fd); /* of a directory, too */
    int (*rename)(void *arg, const char *from, const char *to);
    int (*unlink)(void *arg, const char *path);
    int (*ftruncate)(void *arg, int fd, int64_t size);
    int64_t (*size)(void *arg, int fd); /* st_size */
    /* Names in a directory, sorted; calls `each` for every one. */
    int (*list)(void *arg, const char *dir,
                void (*each)(void *each_arg, const char *name), void *each_arg);
    /* Exclusive lock of a file that lasts until close; -EWOULDBLOCK. */
    int (*lock)(void *arg, int fd);
    uint64_t (*random)(void *arg); /* for file epochs */
};

struct store_journal_options {
    const char *dir; /* must exist; lends until return */
    enum store_sync sync;
    uint32_t interval_ms;   /* for STORE_SYNC_INTERVAL */
    uint64_t segment_bytes; /* 64 KiB to 1 GiB; 0: 64 MiB */
    /* No file is made beyond so many bytes: then it is as if the disk were
     * full. 0: no bound. */
    uint64_t disk_max;
    bool threaded; /* false: all in the caller (simulator) */
    /* A commit of up to so many bytes is written and synced by the caller
     * itself as long as the disk is fast, which costs less than waking the
     * helper. 0: never. Only with STORE_SYNC_ALWAYS and threads. */
    uint32_t inline_bytes;
    const struct store_io *io; /* NULL: the operating system; lends for ever */
};

/* Takes the lock of the directory. -EWOULDBLOCK: another daemon holds it.
 * On failure *out is untouched and `text` says what is wrong. */
int store_journal_open(const struct store_journal_options *options,
                       struct store **out, char text[STORE_TEXT_MAX]);

#endif
