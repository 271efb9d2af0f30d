/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * screen - the terminal, taken over by a view that is drawn again and again.
 *
 * It is given back however the program ends, unless by SIGKILL: at its end, by
 * a signal, and while it is stopped (Ctrl-Z). Signals that end a program end it
 * at once, so a view may own nothing.
 *
 * Knows:     the sequences that every terminal of today has (ECMA-48, and the
 *            second screen of xterm).
 */
#ifndef CLI_SCREEN_H
#define CLI_SCREEN_H

#include <stdbool.h>
#include <stddef.h>

/* Standard output is a terminal that can be drawn on. */
bool screen_possible(void);
/* To be called once; only if that is so. */
void screen_begin(void);
/* Does nothing where it is not begun. */
void screen_end(void);
/* At least 1. */
void screen_size(size_t *rows, size_t *columns);
/* What comes there are keys; -1: none can come. */
int screen_fd(void);
/* The next key, 0: none; does not wait. Those that send more than one byte are
 * passed by. */
char screen_key(void);
/* Draws lines, none wider than the screen; of those that it has no room for it
 * says how many they are. */
void screen_show(const char *lines);

#endif
