/* SPDX-License-Identifier: BSD-2-Clause */
#include "late.h"

#include <errno.h>

#include "view.h"

#define PUT_OFF 32 /* each of so many reads is not possible at first */

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
    s->place = l->journal ? l->journal->place : l->hooks->place(l->arg);
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
    return l->hooks->scan(l->arg, bytes, fn, arg, got, &l->scanned);
}

static void late_extent(const struct store *s, struct store_extent *out)
{
    (void)s;
    *out = (struct store_extent){.dir = NULL};
}

static void late_pin(struct store *s, uint32_t segment)
{
    s->pinned = segment;
}

static void late_bound(struct store *s, uint64_t disk_max)
{
    (void)s; /* a disk is full when the world says so */
    (void)disk_max;
}

static void late_read(struct store *s, struct store_place place)
{
    buf_append(&late_of(s)->asked, &place, sizeof(place));
}

/* What is not written yet is not answered: then it is written, too early for
 * the one who is told of commits late, and as late as the disk may be. */
static void read_journal(struct late *l, struct store_place place,
                         struct store_answer *out)
{
    store_read(l->journal, place);
    store_tick(l->journal);
    while (!store_take(l->journal, out) || out->error == -EAGAIN) {
        store_commit(l->journal);
        store_tick(l->journal);
    }
}

static void read_entry(struct late *l, struct store_place place,
                       struct store_answer *out)
{
    struct str entry = STR("this is damaged, or was trimmed");

    *out = (struct store_answer){.place = place};
    out->error = l->hooks->find(l->arg, place, &entry);
    out->data = entry.p;
    out->len = entry.len;
}

static bool late_take(struct store *s, struct store_answer *out)
{
    struct late *l = late_of(s);
    struct store_place place;

    if (!l->answers || l->failed)
        return false;
    l->answers = false;
    memcpy(&place, buf_front(&l->asked), sizeof(place));
    buf_consume(&l->asked, sizeof(place));
    l->put_off = l->put_off && late_asked(l) > 0;
    if (++l->reads % PUT_OFF == 0) { /* after the others */
        l->put_off = true;
        late_read(s, place);
        *out = (struct store_answer){.place = place, .error = -EAGAIN};
        return true;
    }
    if (l->journal)
        read_journal(l, place, out);
    else
        read_entry(l, place, out);
    return true;
}

void late_answer(struct late *l)
{
    l->answers = late_asked(l) > 0;
}

size_t late_asked(const struct late *l)
{
    return buf_size(&l->asked) / sizeof(struct store_place);
}

static void late_tick(struct store *s)
{
    (void)s; /* late_end is what comes of it */
}

static void late_stats(const struct store *s, struct store_stats *out)
{
    *out = (struct store_stats){
        .entries = s->appended,
        .scan_segment =
            container_of(s, const struct late, base)->scanned.segment};
}

static void late_close(struct store *s)
{
    (void)s; /* the world's, which calls late_clear */
}

void late_clear(struct late *l)
{
    buf_clear(&l->asked);
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
        .extent = late_extent,
        .pin = late_pin,
        .bound = late_bound,
        .scan = late_scan,
        .read = late_read,
        .take = late_take,
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
