/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * template - a command line with places for an input.
 *
 * No shell is involved: a template is split into words first, and what is put
 * into a word stays within that word, whatever it holds.
 *
 *   {}    the input                       a/b.tar.gz
 *   {.}   without its extension           a/b.tar
 *   {/}   its last component              b.tar.gz
 *   {//}  its directory                   a
 *   {/.}  last component, no extension    b.tar
 *   {#}   the number of the input, from 1
 *
 * A name's leading dot begins no extension. A template without any place gets
 * the input as its last argument.
 */
#ifndef CLI_TEMPLATE_H
#define CLI_TEMPLATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct template
{
    size_t nwords;
    char **words;
    bool has_place;
};

/* One argument that holds a blank is split at blanks, with '...', "..." and
 * backslash as quotes; anything else is taken as the words. Returns NULL, or
 * what is wrong. template_clear is due in both cases. */
const char *template_parse(struct template *t, size_t argc, char **argv);
void template_clear(struct template *t);

/* The NULL-terminated argv for an input; the caller frees it by
 * template_argv_free. */
char **template_expand(const struct template *t, const char *input,
                       uint64_t number);
void template_argv_free(char **argv);

#endif
