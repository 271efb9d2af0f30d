/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * verify - reads a journal that no daemon has, and tells what is in it.
 *
 * Knows:     what is said of a journal on stdout, when it is damaged, the lock.
 * Never:     frames, records; writes nothing.
 * Errors:    told on stderr.
 */
#ifndef YOKE_VERIFY_H
#define YOKE_VERIFY_H

#include <stdio.h>

#include "store/salvage.h"

struct core;

/* The exit status for what can be read and is damaged. */
#define VERIFY_DAMAGED 3

/* While there is a file of that name in a directory, less is in there than
 * there should be, and nothing of that shows it. */
#define VERIFY_UNFINISHED "unfinished"

/* What `yoke backup` has written down of a journal: the rest does not show that
 * something is missing at either end. */
struct verify_facts {
    bool there;
    uint64_t first_segment, last_entry;
};

/* Everything that is read of a journal, and what is said of it on the way. */
struct verify {
    struct salvage salvage;
    struct core *core; /* knows what is whole */
    FILE *left_out;    /* NULL: only told */
    uint64_t entry;    /* that the core is looking at */
    uint64_t refused, passed_over, missing;
    struct verify_facts facts;
    bool beheaded; /* segments are missing before the first */
    bool hole; /* not told yet, for the time of the entry after it is to come */
    uint64_t from, to;
    int64_t after_ms;
    char text[STORE_TEXT_MAX];
};

/* The exit status of the program: 0 whole, 1 cannot be read, or a daemon has
 * it, 3 damaged. `jobs`: each is listed. */
int verify_journal(const char *dir, bool jobs);

/* The facts are those of the directory `facts`. Records that are left out are
 * written to `left_out`, if that is not NULL. Lends all of it. verify_read
 * once, with a status as above; then the core may be asked, and verify_clear.
 */
void verify_init(struct verify *v, const char *dir, const char *facts,
                 FILE *left_out);
int verify_read(struct verify *v, bool jobs);
void verify_clear(struct verify *v);

/* A core that forgets nothing to make room. */
struct core *verify_core(void);

/* Holds off a daemon as long as the descriptor is open. -1: told why not. */
int verify_lock(const char *dir, int flags, int how);
/* Has a repair, a backup or a restore been broken off in there? */
bool verify_unfinished(const char *dir);
/* Likewise, and told. */
bool verify_refuse(const char *dir);
/* What is wrong with a directory that has no segment. */
void verify_nothing_there(char text[STORE_TEXT_MAX], const char *dir,
                          const char *wanted);
/* Tells what is wrong with a path, or a file in it; EXIT_FAILURE. */
int verify_complain(const char *path, const char *what);

#endif
