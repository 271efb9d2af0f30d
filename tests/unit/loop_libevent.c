/* SPDX-License-Identifier: BSD-2-Clause */
/* loop_libevent - libevent for the laws about loops. */
#include "loop_driver.h"

#include <yoke/libevent.h>

static void *base_new(void)
{
    return event_base_new();
}

static int base_attach(void *loop, yoke *y, yoke_ended_fn *ended, void *arg)
{
    return yoke_libevent_attach(loop, y, ended, arg);
}

static void base_step(void *loop)
{
    (void)event_base_loop(loop, EVLOOP_ONCE);
}

static void base_free(void *loop)
{
    event_base_free(loop);
}

const struct driver libevent_driver = {base_new, base_attach, base_step,
                                       base_free};
