/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * script - a program that runs as a child of yoke, with all that it starts.
 *
 * yoke is a subreaper meanwhile: what the program leaves behind becomes a
 * child of yoke, so stopping finds it. It stays in the terminal's foreground
 * and gets Ctrl-C as without yoke.
 *
 * Knows:     processes.
 * Never:     asks the network.
 */
#ifndef CLI_SCRIPT_H
#define CLI_SCRIPT_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct script {
    pid_t pid;
    int fd;           /* readable when it has ended; -1 then */
    int wait_status;  /* as of waitpid(2), once ended */
    bool ended;       /* the program itself */
    bool stopping;    /* script_stop was called ... */
    bool was_stopped; /* ... before the program had ended */
    int64_t kill_ms;  /* end of the grace, as cli_monotonic_ms */
};

/* argv ends with NULL; the environment is that of yoke. 0, or -errno: it was
 * not started. */
int script_start(struct script *s, char *const *argv);
/* Asks the program and all that it has started to end; what is there after
 * grace_ms is killed. Again: only an earlier end counts. */
void script_stop(struct script *s, int64_t grace_ms);
/* Looks what has ended, and kills when the grace is over. True: nothing is left
 * to wait for. What an unstopped program leaves behind is not waited for. */
bool script_check(struct script *s);
/* When script_check is due at the latest, in ms; -1: when fd is readable. */
int script_timeout(const struct script *s);
/* The exit status as a shell has it. */
int script_exit_status(const struct script *s);

#endif
