/* SPDX-License-Identifier: BSD-2-Clause */
#include "config.h"

#include "server/service.h"

#include <stdarg.h>
#include <time.h>

#ifdef HAVE_SYSTEMD

#include <systemd/sd-daemon.h>

int service_sockets(int *first)
{
    int n = sd_listen_fds(1);

    *first = SD_LISTEN_FDS_START;
    return n > 0 ? n : 0;
}

int64_t service_watchdog_ms(void)
{
    uint64_t usec = 0;

    return sd_watchdog_enabled(0, &usec) > 0 ? (int64_t)(usec / 1000) : 0;
}

static void notify(const char *text)
{
    (void)sd_notify(0, text);
}

#else

int service_sockets(int *first)
{
    *first = -1;
    return 0;
}

int64_t service_watchdog_ms(void)
{
    return 0;
}

static void notify(const char *text)
{
    (void)text;
}

#endif

void service_ready(void)
{
    notify("READY=1");
}

void service_reloading(void)
{
    struct timespec now;
    char text[64];

    /* systemd 253 and later match the end of a reload by this time. */
    clock_gettime(CLOCK_MONOTONIC, &now);
    (void)snprintf(text, sizeof(text), "RELOADING=1\nMONOTONIC_USEC=%lld",
                   (long long)now.tv_sec * 1000000 + now.tv_nsec / 1000);
    notify(text);
}

void service_stopping(void)
{
    notify("STOPPING=1");
}

void service_alive(void)
{
    notify("WATCHDOG=1");
}

void service_patience(int64_t ms)
{
    char text[64];

    (void)snprintf(text, sizeof(text), "EXTEND_TIMEOUT_USEC=%lld",
                   (long long)ms * 1000);
    notify(text);
}

void service_status(const char *fmt, ...)
{
    static char last[256];
    char text[256] = "";
    int used = snprintf(text, sizeof(text), "STATUS=");
    va_list ap;

    va_start(ap, fmt);
    (void)vsnprintf(text + used, sizeof(text) - (size_t)used, fmt, ap);
    va_end(ap);
    if (strcmp(text, last) == 0)
        return;
    memcpy(last, text, sizeof(last));
    notify(text);
}
