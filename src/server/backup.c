/* SPDX-License-Identifier: BSD-2-Clause */
#include "server/backup.h"

#include <inttypes.h>

#include "base/log.h"
#include "core/core.h"
#include "store/copier.h"
#include "wire/resp.h"

static void pin_needed(struct backups *k)
{
    uint32_t segment = STORE_UNPINNED;

    list_foreach (it, &k->all) {
        const struct backup *b = list_entry(it, struct backup, link);

        if (!b->lost && b->segment < segment)
            segment = b->segment;
    }
    if (segment != k->store->pinned)
        store_pin(k->store, segment);
}

/* Before anything is pinned anew, or what has gone would not be seen. */
static void look(struct backups *k)
{
    struct store_extent x;

    if (list_empty(&k->all) || k->store->pinned != STORE_UNPINNED)
        return;
    store_extent(k->store, &x);
    list_foreach (it, &k->all) {
        struct backup *b = list_entry(it, struct backup, link);

        if (!b->lost && b->segment < x.first) {
            b->lost = true;
            log_warn("a backup is broken off: the journal needs the room of "
                     "segments that were not copied yet: segment=%" PRIu32,
                     b->segment);
        }
    }
    pin_needed(k);
}

static void drop(struct backups *k, struct backup *b)
{
    look(k);
    copy_free(b->copy);
    b->copy = NULL;
    b->reading = false;
    list_remove(&b->link);
    k->count--;
    pin_needed(k);
}

void backups_second(struct backups *k, int64_t idle_ms)
{
    k->seconds++;
    list_foreach_safe (it, &k->all) {
        struct backup *b = list_entry(it, struct backup, link);

        if (b->reading || (k->seconds - b->heard) * 1000 <= idle_ms)
            continue;
        drop(k, b);
        b->idle = true;
        log_warn("a backup is broken off: its client is silent: "
                 "segment=%" PRIu32,
                 b->segment);
    }
    look(k);
}

static void on_copied(struct ev_loop *loop, ev_io *w, int events)
{
    struct backups *k = container_of(w, struct backups, io);
    struct copy *y;

    (void)loop;
    (void)events;
    while ((y = copier_done(k->copier))) {
        list_foreach (it, &k->all) {
            struct backup *b = list_entry(it, struct backup, link);

            if (b->copy != y)
                continue;
            k->ready(b);
            break;
        }
    }
}

void backups_init(struct backups *k, struct ev_loop *loop, struct store *store,
                  void (*ready)(struct backup *b))
{
    *k = (struct backups){.loop = loop, .store = store, .ready = ready};
    list_init(&k->all);
    ev_init(&k->io, on_copied);
}

void backups_clear(struct backups *k)
{
    ASSERT(k->count == 0);
    ev_io_stop(k->loop, &k->io);
    copier_free(k->copier);
}

static int make_copier(struct backups *k)
{
    int rc = k->copier ? 0 : copier_new(NULL, &k->copier);

    if (rc == 0 && !ev_is_active(&k->io)) {
        ev_io_set(&k->io, copier_fd(k->copier), EV_READ);
        ev_io_start(k->loop, &k->io);
    }
    return rc;
}

void backup_stop(struct backups *k, struct backup *b)
{
    b->idle = false;
    if (b->copy)
        drop(k, b);
}

static void put_int(struct buf *out, const char *key, int64_t value)
{
    resp_text(out, key);
    resp_int(out, value);
}

void backup_start(struct backups *k, struct backup *b, int proto,
                  struct buf *out)
{
    struct store_extent x;
    int rc;

    backup_stop(k, b);
    look(k);
    store_extent(k->store, &x);
    if (!x.dir) {
        resp_error(out, CORE_ERR_GENERIC,
                   "BACKUP START: there is no journal: [journal] store is "
                   "memory");
        return;
    }
    if (k->count == BACKUPS_MAX) {
        resp_error(out, CORE_ERR_LIMIT,
                   "BACKUP START: %d backups are under way already",
                   BACKUPS_MAX);
        return;
    }
    rc = make_copier(k);
    if (rc < 0) {
        resp_error(out, CORE_ERR_GENERIC, "BACKUP START: no thread for it: %s",
                   strerror(-rc));
        return;
    }
    *b = (struct backup){.copy = copy_new(k->copier, &x),
                         .segment = x.first,
                         .heard = k->seconds};
    list_init(&b->link);
    list_push_back(&k->all, &b->link);
    k->count++;
    pin_needed(k);
    resp_map(out, proto, 4);
    put_int(out, "first_segment", x.first);
    put_int(out, "last_segment", x.last);
    put_int(out, "last_entry", (int64_t)x.entry);
    put_int(out, "bytes", (int64_t)x.bytes);
}

static void put_piece(struct backups *k, struct backup *b, int proto,
                      struct buf *out)
{
    const struct copy_piece *p = copy_piece(b->copy);
    char check[17];

    resp_map(out, proto, p->last ? 4 : 3);
    put_int(out, "segment", p->segment);
    put_int(out, "offset", (int64_t)p->offset);
    resp_text(out, "bytes");
    resp_str(out, (struct str){buf_front(&p->bytes), buf_size(&p->bytes)});
    if (!p->last)
        return;
    (void)snprintf(check, sizeof(check), "%016" PRIx64, p->check);
    resp_text(out, "check");
    resp_text(out, check);
    b->segment = p->segment + 1;
    pin_needed(k);
}

void backup_answer(struct backups *k, struct backup *b, int proto,
                   struct buf *out)
{
    const struct copy_piece *p = copy_piece(b->copy);

    b->reading = false;
    b->heard = k->seconds;
    look(k);
    if (!b->lost && !p->error) {
        put_piece(k, b, proto, out);
        return;
    }
    if (b->lost) {
        resp_error(out, CORE_ERR_DISKFULL,
                   "BACKUP NEXT: broken off: the journal needed the room of "
                   "what was not copied yet");
    } else {
        log_error("a backup is broken off: %s", p->text);
        resp_error(out, CORE_ERR_GENERIC, "BACKUP NEXT: broken off: %s",
                   p->text);
    }
    backup_stop(k, b);
}

bool backup_next(struct backups *k, struct backup *b, int proto,
                 struct buf *out)
{
    if (!b->copy) {
        resp_error(out, CORE_ERR_GENERIC, "BACKUP NEXT: %s",
                   b->idle ? "broken off: nothing came for [journal] "
                             "backup-idle"
                           : "this connection has begun no backup, and "
                             "one ends with the connection that began it");
        return true;
    }
    look(k);
    if (b->lost) {
        backup_answer(k, b, proto, out);
    } else if (copy_read(b->copy)) {
        b->reading = true;
        return false;
    } else {
        backup_stop(k, b);
        resp_null(out, proto);
    }
    return true;
}
