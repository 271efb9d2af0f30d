/* SPDX-License-Identifier: BSD-2-Clause */
#include "base/log.h"

#include <errno.h>
#include <stdarg.h>
#include <time.h>
#include <unistd.h>

static const char *const level_names[] = {"error", "warn", "info", "debug"};
/* The priority prefixes of sd-daemon(3), one for each level. */
static const char *const level_prefixes[] = {"<3>", "<4>", "<6>", "<7>"};

static const char *log_program = "yoke";
static enum log_level log_max = LOG_LEVEL_INFO;

void log_init(const char *program, enum log_level max)
{
    log_program = program;
    log_max = max;
}

void log_set_level(enum log_level max)
{
    log_max = max;
}

int log_parse_level(const char *name, enum log_level *level)
{
    for (size_t i = 0; i < ARRAY_LEN(level_names); i++) {
        if (strcmp(name, level_names[i]) == 0) {
            *level = (enum log_level)i;
            return 0;
        }
    }
    return -EINVAL;
}

static int log_prefix(char *line, size_t size, enum log_level level)
{
    struct timespec now;
    struct tm tm;
    char when[32];

    /* JOURNAL_STREAM is set when stderr goes to the systemd journal, which
     * stamps the time itself and reads the level from the prefix. */
    if (getenv("JOURNAL_STREAM"))
        return snprintf(line, size, "%s", level_prefixes[level]);
    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &tm);
    strftime(when, sizeof(when), "%Y-%m-%dT%H:%M:%S", &tm);
    return snprintf(line, size, "%s.%03ldZ %s[%d] %s: ", when,
                    now.tv_nsec / 1000000, log_program, (int)getpid(),
                    level_names[level]);
}

void log_write(enum log_level level, const char *fmt, ...)
{
    char line[2048];
    size_t used;
    va_list ap;
    int n;

    if (level > log_max)
        return;
    n = log_prefix(line, sizeof(line), level);
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
