/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * service - what the daemon says to systemd, and gets from it.
 *
 * All of it does nothing when systemd did not start this process, or when
 * yoke was built without libsystemd.
 *
 * Threads:   one.
 * Errors:    none: a manager that does not listen is no reason to stop.
 */
#ifndef YOKE_SERVICE_H
#define YOKE_SERVICE_H

#include "base/base.h"

/* How many listening sockets were passed; they begin at *first. Takes them
 * out of the environment: call it once. */
int service_sockets(int *first);

/* Time within which service_alive must be called again; 0: not at all. */
int64_t service_watchdog_ms(void);

void service_ready(void);
void service_reloading(void);
void service_stopping(void);
void service_alive(void);
/* The start takes its time: do not give up before this much has passed. */
void service_patience(int64_t ms);
/* One line for people; the same again is not sent. */
void service_status(const char *fmt, ...) ATTR_PRINTF(1, 2);

#endif
