/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * log - what the programs say to their administrator.
 *
 * A message is a short sentence followed by key=value pairs. To the systemd
 * journal when stderr is connected to it (levels become priorities), else to
 * stderr with time and level.
 *
 * Never:     called by base, wire, core or store: they return their errors.
 * Threads:   a message is one write.
 */
#ifndef YOKE_LOG_H
#define YOKE_LOG_H

#include "base/base.h"

enum log_level {
    LOG_LEVEL_ERROR,
    LOG_LEVEL_WARN,
    LOG_LEVEL_INFO,
    LOG_LEVEL_DEBUG
};

/* Program name for the prefix; lends `program` for ever. */
void log_init(const char *program, enum log_level max);
void log_set_level(enum log_level max);
/* 0, or -EINVAL when the name is not error, warn, info or debug. */
int log_parse_level(const char *name, enum log_level *level);

void log_write(enum log_level level, const char *fmt, ...) ATTR_PRINTF(2, 3);

#define log_error(...) log_write(LOG_LEVEL_ERROR, __VA_ARGS__)
#define log_warn(...)  log_write(LOG_LEVEL_WARN, __VA_ARGS__)
#define log_info(...)  log_write(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_debug(...) log_write(LOG_LEVEL_DEBUG, __VA_ARGS__)

#endif
