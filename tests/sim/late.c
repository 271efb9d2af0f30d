/* SPDX-License-Identifier: BSD-2-Clause */
#include "late.h"

#include <errno.h>

#include "view.h"

static struct late *late_of(const struct store *s)
{
    return container_of(s, struct late, base);
}

static int late_replay(struct store *s, uint64_t most, store_replay_fn *fn,
                       void *arg, char text[STORE_TEXT_MAX])
{
    struct late *l = late_of(s);

    text[0] = '\0';
    return l->hooks->replay(l->arg, most, fn, arg);
}

static int late_append(struct store *s, const void *data, size_t len,
                       uint64_t *pos)
{
    struct late *l = late_of(s);
    uint64_t there;

    if (l->failed)
        return -EIO;
    if (l->journal && store_append(l->journal, data, len, &there) != 0)
        violation("the journal did not take an entry");
    *pos = ++s->appended;
    l->hooks->appended(l->arg, data, len);
    return 0;
}

static void sync_journal(struct late *l)
{
    char text[STORE_TEXT_MAX];

    if (!l->journal)
        return;
    store_commit(l->journal);
    store_tick(l->journal);
    if (store_error(l->journal, text) != 0)
        violation("the journal failed: %s", text);
    if (l->journal->durable != l->journal->appended)
        violation("a commit without a thread left something behind");
}

void late_end(struct late *l)
{
    if (!l->base.busy || l->failed)
        return;
    if (!l->ahead)
        sync_journal(l);
    l->base.busy = false;
    l->base.durable = l->target;
}

static void late_commit(struct store *s)
{
    struct late *l = late_of(s);

    if (s->busy || l->failed)
        return;
    s->busy = true;
    l->target = s->appended;
    if (l->ahead)
        sync_journal(l);
    if (l->at_once)
        late_end(l);
}

void late_fail(struct late *l)
{
    l->failed = true;
}

static int late_error(const struct store *s, char text[STORE_TEXT_MAX])
{
    bool failed = late_of(s)->failed;

    (void)snprintf(text, STORE_TEXT_MAX, "%s", failed ? "the disk broke" : "");
    return failed ? -EIO : 0;
}

static void late_trim(struct store *s, uint32_t segment)
{
    struct late *l = late_of(s);

    if (l->journal)
        store_trim(l->journal, segment);
    l->hooks->trimmed(l->arg, segment);
}

static int late_scan(struct store *s, size_t bytes, store_replay_fn *fn,
                     void *arg, size_t *got, char text[STORE_TEXT_MAX])
{
    struct late *l = late_of(s);

    text[0] = '\0';
    if (l->journal)
        return store_scan(l->journal, bytes, fn, arg, got, text);
    *got = l->hooks->scan(l->arg, bytes, fn, arg);
    return 0;
}

static void late_bound(struct store *s, uint64_t disk_max)
{
    (void)s; /* a disk is full when the world says so */
    (void)disk_max;
}

static void late_tick(struct store *s)
{
    (void)s; /* late_end is what comes of it */
}

static void late_stats(const struct store *s, struct store_stats *out)
{
    *out = (struct store_stats){.entries = s->appended};
}

static void late_close(struct store *s)
{
    (void)s; /* the world's */
}

void late_init(struct late *l, const struct late_hooks *hooks, void *arg,
               struct store *journal, uint64_t entries, uint32_t segment)
{
    static const struct store_ops ops = {
        .replay = late_replay,
        .append = late_append,
        .commit = late_commit,
        .error = late_error,
        .trim = late_trim,
        .bound = late_bound,
        .scan = late_scan,
        .tick = late_tick,
        .stats = late_stats,
        .close = late_close,
    };

    *l = (struct late){
        .base = {.ops = &ops,
                 .appended = entries,
                 .durable = entries,
                 .segment = segment,
                 .fd = -1},
        .hooks = hooks,
        .arg = arg,
        .journal = journal,
    };
}
