/* SPDX-License-Identifier: BSD-2-Clause */
#include "cli/watch.h"

#include <poll.h>
#include <stddef.h>

#include "cli/cli.h"

#define WAIT_MAX_MS 1000000

bool watch_is_loss(int status)
{
    return status == YOKE_ERR_IO || status == YOKE_ERR_CONNECT ||
           status == YOKE_ERR_NOSESSION || status == YOKE_ERR_LOADING ||
           status == YOKE_ERR_TIMEOUT;
}

static void give_up(struct watch *w)
{
    yoke_abandon(w->asker); /* they own nothing */
    yoke_abandon(w->listener);
    w->asker = w->listener = NULL;
}

/* 0, or why not; *failed is what tells more. */
static int connect_both(struct watch *w, yoke **failed)
{
    int status = cli_try(w->c, &w->asker);

    *failed = w->asker;
    if (status != 0 || w->nchannels == 0)
        return status;
    status = cli_try(w->c, &w->listener);
    if (status == 0)
        status = yoke_subscribe(w->listener, w->nchannels, w->channels, w->told,
                                w->arg);
    *failed = w->listener;
    return status;
}

void watch_begin(struct watch *w, struct cli *c)
{
    yoke *failed;
    int status;

    w->c = c;
    w->asker = w->listener = NULL;
    status = connect_both(w, &failed);
    if (status != 0)
        cli_fail(c, failed, status, "cannot watch");
}

void watch_lose(struct watch *w, yoke *y, int status, const char *what)
{
    if (!watch_is_loss(status))
        cli_fail(w->c, y, status, "%s", what);
    if (!w->quiet)
        cli_warn("the daemon is gone (%s); waiting for it", yoke_error_text(y));
    give_up(w);
}

bool watch_again(struct watch *w)
{
    yoke *failed;
    int status = connect_both(w, &failed);

    if (status != 0) {
        if (!watch_is_loss(status))
            cli_fail(w->c, failed, status, "cannot watch any more");
        give_up(w);
        return false;
    }
    if (!w->quiet)
        cli_warn("the daemon is back");
    return true;
}

void watch_wait(struct watch *w, int fd, int64_t ms)
{
    struct pollfd fds[] = {{.fd = fd, .events = POLLIN}, {.fd = -1}};
    int status;

    if (w->listener != NULL) {
        fds[1].fd = yoke_fd(w->listener);
        fds[1].events = yoke_events(w->listener);
    }
    if (poll(fds, 2, ms > WAIT_MAX_MS ? WAIT_MAX_MS : (int)ms) <= 0 ||
        fds[1].revents == 0)
        return;
    status = yoke_process(w->listener);
    if (status != 0)
        watch_lose(w, w->listener, status, "cannot watch any more");
}

void watch_end(struct watch *w)
{
    give_up(w);
}
