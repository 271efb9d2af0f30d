/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * report - why something did not end well, in words for people.
 *
 * Never:     asks the network.
 */
#ifndef CLI_REPORT_H
#define CLI_REPORT_H

#include <jansson.h>
#include <stdio.h>

#include <yoke.h>

/* One line: why a job or group ended as it did ("exit status 3", "ran into its
 * timeout", "cancelled: its deadline had passed"). The caller frees it. */
char *report_why(const struct yoke_outcome_info *o);
/* What a cancel's reason means; the reason itself if it is somebody's own. */
const char *report_reason(const char *reason);

struct text;
/* Of a map of STATUS or GROUP INFO: what became of it, or where it is. */
const char *report_state(const struct yoke_value *map);
/* Adds how long a job ran, runs, or has been there. */
void report_age(struct text *t, const struct yoke_value *job);

/* "ok", "failed", "cancelled"; NULL: it has not ended. */
const char *report_outcome(enum yoke_outcome outcome);

/*
 * The tree of errors under a group or a job, in as many columns as the terminal
 * has: a line for each node (its name, how it ended, its counts or attempts,
 * its id), the message where it says more than the class, and the end of its
 * stderr. info: of its top, or NULL: the tree has all of it; tree may be NULL
 * then. more: how many failed members are not in the tree.
 *
 *     nightly  failed  2 failed, 1 ok, after 1.2s  g1m8fmhjk30000
 *     ├─ compile  exit:1  after 63ms at 23:13:14  j1m8fmhjk30002
 *     │    ┊ foo.c:42: error: expected ;
 *     └─ upload  net.refused  3 attempts, after 5s at 23:13:19  j1m8fmhjk30003
 *          cannot connect to example.org
 */
void report_tree(FILE *to, const struct yoke_outcome_info *info,
                 const struct yoke_error_tree *tree, int64_t more);
/* What stands below the line of one job: messages, and so many lines of its
 * stderr, each behind the margin. */
void report_errors(FILE *to, const char *margin, int lines,
                   const struct yoke_outcome_info *o);

/* The same tree as an object: id, kind, name, outcome, counts or attempts,
 * times, errors, members (which are such objects). The caller owns it. */
json_t *report_tree_json(const struct yoke_error_tree *tree);

/* The exit status that stands for the outcome of a job that ran a command:
 * 0, its own, 124, 126, 127, 128 + signal, 125. */
int report_exit_status(const struct yoke_outcome_info *o);

#endif
