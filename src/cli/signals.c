/* SPDX-License-Identifier: BSD-2-Clause */
#include "cli/signals.h"

#include <stdatomic.h>
#include <stddef.h>

static const int caught[] = {SIGINT, SIGTERM, SIGHUP};
#define NCAUGHT (sizeof(caught) / sizeof(caught[0]))

/* What a handler may touch. */
static volatile sig_atomic_t count, first;
static _Atomic(yoke *) current;

/* The first cancels, the second does not wait; whoever sends a third one has a
 * yoke that waits for a daemon that does not answer. */
#define PATIENCE 3

static void on_signal(int number)
{
    yoke *y = atomic_load(&current);

    if (count == 0)
        first = number;
    count++;
    if (count >= PATIENCE) {
        (void)signal(number, SIG_DFL);
        (void)raise(number); /* is delivered when this one has returned */
    }
    if (y != NULL)
        yoke_interrupt(y);
}

void signals_catch(void)
{
    struct sigaction ignore = {.sa_handler = SIG_IGN};
    struct sigaction catch = {.sa_handler = on_signal};

    (void)sigemptyset(&catch.sa_mask);
    for (size_t i = 0; i < NCAUGHT; i++) {
        struct sigaction old;

        if (sigaction(caught[i], NULL, &old) == 0 && old.sa_handler != SIG_IGN)
            (void)sigaction(caught[i], &catch, NULL);
    }
    (void)sigaction(SIGPIPE, &ignore, NULL);
}

int signals_count(void)
{
    return count;
}

int signals_first(void)
{
    return first;
}

const char *signals_reason(void)
{
    switch (first) {
    case SIGINT:
        return "interrupted (Ctrl-C)";
    case SIGHUP:
        return "the terminal of yoke was closed";
    default:
        return "yoke was terminated";
    }
}

void signals_interrupt(yoke *y)
{
    atomic_store(&current, y);
}

void signals_block(sigset_t *unblocked)
{
    sigset_t block;

    (void)sigemptyset(&block);
    for (size_t i = 0; i < NCAUGHT; i++)
        (void)sigaddset(&block, caught[i]);
    (void)sigprocmask(SIG_BLOCK, &block, unblocked);
}

void signals_let_in(const sigset_t *unblocked)
{
    sigset_t blocked;

    (void)sigprocmask(SIG_SETMASK, unblocked, &blocked);
    (void)sigprocmask(SIG_SETMASK, &blocked, NULL);
}
