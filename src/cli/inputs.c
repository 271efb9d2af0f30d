/* SPDX-License-Identifier: BSD-2-Clause */
#include "cli/inputs.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#define READ_BYTES 65536

void inputs_init_list(struct inputs *in, char **list, size_t n)
{
    *in = (struct inputs){.list = list, .nlist = n, .fd = -1, .ended = true};
}

void inputs_init_fd(struct inputs *in, int fd, char separator)
{
    *in = (struct inputs){.fd = fd, .separator = separator};
    text_add(&in->read, "", 0);
}

void inputs_clear(struct inputs *in)
{
    text_clear(&in->read);
}

/* The next part of what was read, ended in place. */
static bool next_part(struct inputs *in, const char **out)
{
    char *begin = in->read.data + in->at;
    size_t left = in->read.len - in->at;
    char *end = memchr(begin, in->separator, left);

    if (end == NULL && (!in->ended || left == 0))
        return false;
    if (end == NULL)
        end = begin + left; /* where text keeps its NUL */
    *end = '\0';
    in->at += (size_t)(end - begin) + 1;
    if (in->at > in->read.len)
        in->at = in->read.len;
    *out = begin;
    return true;
}

enum inputs_state inputs_next(struct inputs *in, const char **out)
{
    if (in->list != NULL) {
        if (in->at == in->nlist)
            return INPUTS_END;
        *out = in->list[in->at++];
        return INPUTS_GOT;
    }
    while (next_part(in, out))
        if ((*out)[0] != '\0' || in->separator == '\0')
            return INPUTS_GOT;
    return in->ended ? INPUTS_END : INPUTS_READ;
}

int inputs_read(struct inputs *in)
{
    char part[READ_BYTES];
    ssize_t n = read(in->fd, part, sizeof(part));

    if (n < 0)
        return errno == EINTR || errno == EAGAIN ? 0 : -errno;
    if (n == 0) {
        in->ended = true;
        return 0;
    }
    /* keep only what is not used up */
    in->read.len -= in->at;
    memmove(in->read.data, in->read.data + in->at, in->read.len);
    in->at = 0;
    text_add(&in->read, part, (size_t)n);
    if (in->read.len > INPUTS_LENGTH_MAX + READ_BYTES)
        return -E2BIG;
    return 0;
}
