/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * message - what the runner says to its administrator.
 *
 * One line on stderr for each, in the same form as the daemon's log: time,
 * program, level, a short sentence, key=value pairs; or, when stderr leads to
 * the systemd journal, a priority prefix and the text.
 */
#ifndef RUNNER_MESSAGE_H
#define RUNNER_MESSAGE_H

enum message_level { MESSAGE_ERROR, MESSAGE_WARN, MESSAGE_INFO, MESSAGE_DEBUG };

/* What is above this level is dropped; it begins as MESSAGE_INFO. */
void message_set_level(enum message_level max);
/* 0, or -EINVAL when the name is not error, warn, info or debug. */
int message_parse_level(const char *name, enum message_level *level);

void message_write(enum message_level level, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

#define message_error(...) message_write(MESSAGE_ERROR, __VA_ARGS__)
#define message_warn(...)  message_write(MESSAGE_WARN, __VA_ARGS__)
#define message_info(...)  message_write(MESSAGE_INFO, __VA_ARGS__)
#define message_debug(...) message_write(MESSAGE_DEBUG, __VA_ARGS__)

#endif
