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

/* The tree of errors under a group: a line for the group with its counts, then
 * every failed member with its attempts and the end of its stderr. more: how
 * many failed members are not in the tree. info may be NULL. */
void report_tree(FILE *to, const struct yoke_outcome_info *info,
                 const struct yoke_error_tree *tree, int64_t more);

/* The same tree as an object: id, kind, name, errors, members. The caller owns
 * it. */
json_t *report_tree_json(const struct yoke_error_tree *tree);

/* The exit status that stands for the outcome of a job that ran a command:
 * 0, its own, 124, 126, 127, 128 + signal, 125. */
int report_exit_status(const struct yoke_outcome_info *o);

#endif
