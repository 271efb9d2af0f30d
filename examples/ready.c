/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * ready - a nursery's start(): waits until a job says that it does what others
 * need it for, a server that listens, say; not for its end. Here the servers
 * are workers in this program; the second one ends before it is ready.
 *
 * Prints:
 *     the server is ready at 127.0.0.1:8080
 *     the broken one has ended instead: NOTREADY
 *     server: cancelled (no more needed)
 *     broken: failed (bind)
 */
#include <pthread.h>

#include "example.h"

#define QUEUE "example.servers"

static struct yoke_bytes text(const char *s)
{
    return (struct yoke_bytes){s, strlen(s)};
}

/* Two jobs come, and one cancel. */
static void *serve(void *arg)
{
    static const char *const queues[] = {QUEUE};
    yoke *y = example_open();

    (void)arg;
    for (int news = 0; news < 3;) {
        struct yoke_work_list *list;

        must(y, yoke_fetch(y, 1, YOKE_NONE, 1, queues, &list));
        for (size_t i = 0; i < list->count; i++, news++) {
            const struct yoke_work *w = &list->items[i];

            if (w->notice == YOKE_NOTICE_CANCEL)
                must(y, yoke_fail(y, w->token, "cancelled", "", text("")));
            else if (strcmp(w->name, "server") == 0)
                must(y, yoke_ready(y, w->token, text("127.0.0.1:8080")));
            else
                must(y, yoke_fail(y, w->token, "bind", "in use", text("")));
        }
        yoke_work_free(list);
    }
    yoke_close(y);
    return NULL;
}

static void start(yoke *y, const char *name, char id[YOKE_ID_SIZE])
{
    struct yoke_submit s;

    yoke_submit_init(&s);
    s.queue = QUEUE;
    s.name = name;
    must(y, yoke_submit(y, &s, id));
}

static void show_end(yoke *y, const char *id)
{
    struct yoke_outcome_info *o;

    must(y, yoke_job_wait(y, id, YOKE_NONE, &o));
    example_show(o);
    yoke_outcome_free(o);
}

int main(void)
{
    char server[YOKE_ID_SIZE], broken[YOKE_ID_SIZE];
    struct yoke_value *address;
    yoke *y = example_open();
    pthread_t worker;
    int status;

    if (pthread_create(&worker, NULL, serve, NULL) != 0)
        return 1;
    start(y, "server", server);
    must(y, yoke_job_wait_ready(y, server, YOKE_NONE, &address));
    printf("the server is ready at %s\n", address->s.data);
    yoke_value_free(address);

    start(y, "broken", broken);
    status = yoke_job_wait_ready(y, broken, YOKE_NONE, &address);
    printf("the broken one has ended instead: %s\n", yoke_status_name(status));

    must(y, yoke_cancel(y, server, "no more needed", YOKE_DEFAULT));
    show_end(y, server);
    show_end(y, broken);
    (void)pthread_join(worker, NULL);
    yoke_close(y);
    return 0;
}
