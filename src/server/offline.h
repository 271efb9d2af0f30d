/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * offline - what can be done with a journal while no daemon has it.
 *
 * Knows:     what is said of a journal, what a repaired one must be, names of
 *            directories.
 * Never:     frames, records; a journal in use.
 * Errors:    told on stderr.
 *
 * A repaired journal is written anew, by the images of all that is known
 * after what is whole was replayed: nothing in it follows from what was lost.
 *
 *     DIR            damaged
 *     DIR.repairing  is written, with a file `unfinished` in it until all is
 *                    synced
 *     both names are exchanged
 *     DIR.repairing  renamed to DIR.damaged-TIME
 */
#ifndef YOKE_OFFLINE_H
#define YOKE_OFFLINE_H

#include "base/base.h"

/* The exit status of the program: 0 whole, 1 cannot be read, or a daemon has
 * it, 3 damaged. `jobs`: each is listed. */
int offline_verify(const char *dir, bool jobs);
/* 0: whole now, or it was; 1: not repaired, nothing changed. */
int offline_repair(const char *dir);

#endif
