/* SPDX-License-Identifier: BSD-2-Clause */
#include "runner/message.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static const char *const level_names[] = {"error", "warn", "info", "debug"};
/* The priority prefixes of sd-daemon(3). */
static const char *const level_prefixes[] = {"<3>", "<4>", "<6>", "<7>"};

static enum message_level message_max = MESSAGE_INFO;

void message_set_level(enum message_level max)
{
    message_max = max;
}

int message_parse_level(const char *name, enum message_level *level)
{
    for (size_t i = 0; i < sizeof(level_names) / sizeof(level_names[0]); i++) {
        if (strcmp(name, level_names[i]) == 0) {
            *level = (enum message_level)i;
            return 0;
        }
    }
    return -EINVAL;
}

static int message_prefix(char *line, size_t size, enum message_level level)
{
    struct timespec now;
    struct tm tm;
    char when[32];

    if (getenv("JOURNAL_STREAM"))
        return snprintf(line, size, "%s", level_prefixes[level]);
    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &tm);
    strftime(when, sizeof(when), "%Y-%m-%dT%H:%M:%S", &tm);
    return snprintf(line, size, "%s.%03ldZ yoke-runner[%d] %s: ", when,
                    now.tv_nsec / 1000000, (int)getpid(), level_names[level]);
}

void message_write(enum message_level level, const char *fmt, ...)
{
    char line[2048];
    size_t used;
    va_list ap;
    int n;

    if (level > message_max)
        return;
    n = message_prefix(line, sizeof(line), level);
    used = n > 0 ? (size_t)n : 0;
    va_start(ap, fmt);
    n = vsnprintf(line + used, sizeof(line) - used - 1, fmt, ap);
    va_end(ap);
    used += n > 0 ? (size_t)n : 0;
    if (used > sizeof(line) - 2)
        used = sizeof(line) - 2;
    line[used++] = '\n';
    /* Nothing can be done about a log that cannot be written. */
    if (write(STDERR_FILENO, line, used) < 0)
        return;
}
