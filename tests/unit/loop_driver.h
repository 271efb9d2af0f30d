/* SPDX-License-Identifier: BSD-2-Clause */
/* loop_driver - one of the loops, as the laws about all of them use it. */
#ifndef YOKE_TEST_LOOP_DRIVER_H
#define YOKE_TEST_LOOP_DRIVER_H

#include <yoke.h>

struct driver {
    void *(*new)(void);
    int (*attach)(void *loop, yoke *y, yoke_ended_fn *ended, void *arg);
    void (*step)(void *loop); /* calls back, waiting for it at most */
    void (*free)(void *loop);
};

/* In a file of its own: its names are those of libev, with other values. */
extern const struct driver libevent_driver;

#endif
