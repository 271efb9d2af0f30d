/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * offline - repairs and restores a journal while no daemon has it.
 *
 * Knows:     what a repaired one must be, names of directories.
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
 *
 * A journal is restored by copying a backup; a daemon does not start on one as
 * long as there is a file `unfinished` in it, and what was written is read
 * again before that goes.
 */
#ifndef YOKE_OFFLINE_H
#define YOKE_OFFLINE_H

#include "base/base.h"

/* The exit status of the program. 0: whole now, or it was; 1: not repaired,
 * nothing changed. */
int offline_repair(const char *dir);
/* Copies `backup`, a directory that `yoke backup` has made, to `dir`, which has
 * no journal yet; the files belong to whom `dir` belongs, and that, if it has
 * to be made, to whom its parent belongs. 0, or 1: not restored. */
int offline_restore(const char *backup, const char *dir);

#endif
