/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * signals - Ctrl-C and its kin, for verbs that own a group.
 *
 * SIGINT, SIGTERM and SIGHUP are counted and interrupt the handle that is
 * being used; a third one ends yoke, whatever it waits for. One that the caller
 * of yoke ignores (nohup, say) stays ignored. SIGPIPE is ignored: a reader of
 * stdout that has gone away is told by EPIPE, and the group must be cancelled
 * before yoke ends.
 */
#ifndef CLI_SIGNALS_H
#define CLI_SIGNALS_H

#include <signal.h>

#include <yoke.h>

void signals_catch(void);
/* How many have come; the first one's number, 0: none. */
int signals_count(void);
int signals_first(void);
/* Why things are cancelled then, for the record. */
const char *signals_reason(void);
/* From now on a signal interrupts this handle; NULL: none. */
void signals_interrupt(yoke *y);
/* Blocks the three, so that only ppoll() with *unblocked lets them in. */
void signals_block(sigset_t *unblocked);
/* Lets in what has come meanwhile; only while signals are blocked. */
void signals_let_in(const sigset_t *unblocked);

#endif
