/* SPDX-License-Identifier: BSD-2-Clause */
#include "cli/screen.h"

#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include "cli/output.h"
#include "cli/text.h"

/* The second screen, without cursor; and back. */
#define TAKE "\033[?1049h\033[?25l\033[H\033[J"
#define GIVE "\033[0m\033[?25h\033[?1049l"

/* All that end a process that does nothing about them, but SIGKILL. */
static const int deadly[] = {SIGINT,  SIGTERM, SIGHUP,  SIGQUIT, SIGPIPE,
                             SIGABRT, SIGSEGV, SIGBUS,  SIGFPE,  SIGILL,
                             SIGALRM, SIGUSR1, SIGUSR2, SIGPROF, SIGVTALRM,
                             SIGXCPU, SIGXFSZ, SIGSYS,  SIGTRAP, SIGPOLL};

/* What a handler may touch. */
static volatile sig_atomic_t taken;
static struct termios before;

bool screen_possible(void)
{
    const char *term = getenv("TERM");

    return isatty(STDOUT_FILENO) && term != NULL && strcmp(term, "dumb") != 0;
}

/* Both are called by handlers as well. */
static void take(void)
{
    struct termios keys = before;

    taken = 1;
    keys.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
    keys.c_cc[VMIN] = 1;
    keys.c_cc[VTIME] = 0;
    (void)tcsetattr(STDOUT_FILENO, TCSADRAIN, &keys); /* it was one before */
    (void)output_write(STDOUT_FILENO, TAKE, sizeof(TAKE) - 1);
}

static void give(void)
{
    if (!taken)
        return;
    taken = 0;
    /* if it is gone nobody misses it */
    (void)output_write(STDOUT_FILENO, GIVE, sizeof(GIVE) - 1);
    (void)tcsetattr(STDOUT_FILENO, TCSADRAIN, &before);
}

static void on_deadly(int number)
{
    give();
    (void)signal(number, SIG_DFL);
    (void)raise(number);
}

static void on_stop(int number);

/* A caller's nohup stays in force. */
static void catch (int number, void (*handler)(int))
{
    struct sigaction action = {.sa_handler = handler, .sa_flags = SA_NODEFER},
                     old;

    (void)sigemptyset(&action.sa_mask);
    if (sigaction(number, NULL, &old) == 0 && old.sa_handler != SIG_IGN)
        (void)sigaction(number, &action, NULL);
}

static void on_stop(int number)
{
    bool was = taken;

    give();
    (void)signal(number, SIG_DFL);
    (void)raise(number);
    catch (number, on_stop); /* it goes on */
    if (was)
        take();
}

/* Ends a poll, so that it is drawn anew. */
static void on_resize(int number)
{
    (void)number;
}

void screen_begin(void)
{
    if (tcgetattr(STDOUT_FILENO, &before) != 0)
        return;
    (void)atexit(screen_end);
    for (size_t i = 0; i < sizeof(deadly) / sizeof(deadly[0]); i++)
        catch (deadly[i], on_deadly);
    catch (SIGTSTP, on_stop);
    catch (SIGWINCH, on_resize);
    take();
}

void screen_end(void)
{
    give();
}

void screen_size(size_t *rows, size_t *columns)
{
    struct winsize size;

    *rows = 24;
    *columns = 80;
    if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_row == 0 ||
        size.ws_col == 0)
        return;
    *rows = size.ws_row;
    *columns = size.ws_col;
}

int screen_fd(void)
{
    return isatty(STDIN_FILENO) ? STDIN_FILENO : -1;
}

char screen_key(void)
{
    struct pollfd fd = {.fd = screen_fd(), .events = POLLIN};
    char key, rest[64];

    if (fd.fd < 0 || poll(&fd, 1, 0) <= 0)
        return 0;
    if (read(fd.fd, &key, 1) != 1) /* the terminal is gone */
        exit(0);
    if (key != '\033')
        return key;
    if (poll(&fd, 1, 0) > 0) /* an arrow, say */
        (void)!read(fd.fd, rest, sizeof(rest));
    return 0;
}

void screen_show(const char *lines)
{
    struct text out = {0};
    size_t rows, columns, row = 0, more = 0;

    screen_size(&rows, &columns);
    for (const char *p = lines; *p != '\0'; p++)
        more += *p == '\n';
    text_adds(&out, "\033[H");
    /* A line is erased before it is written: behind a full one the cursor
     * stands on its last column. */
    while (*lines != '\0' && row < rows) {
        size_t len = strcspn(lines, "\n");

        text_adds(&out, row > 0 ? "\r\n\033[K" : "\033[K");
        if (++row == rows && more > 1) {
            char *fit;
            struct text words = {0};

            text_addf(&words, "(%zu more lines)", more);
            fit = output_fit(text_str(&words), columns);
            text_adds(&out, fit);
            free(fit);
            text_clear(&words);
            break;
        }
        text_add(&out, lines, len);
        lines += len + (lines[len] == '\n');
        more--;
    }
    if (row < rows)
        text_adds(&out, row > 0 ? "\r\n\033[J" : "\033[J");
    if (output_write(STDOUT_FILENO, out.data, out.len) != 0)
        exit(1);
    text_clear(&out);
}
