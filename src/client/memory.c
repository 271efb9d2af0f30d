/* SPDX-License-Identifier: BSD-2-Clause */
/* memory - where the library gets memory from, and nothing else. */
#include "client/client.h"

void *yk_alloc(size_t size)
{
    return malloc(size);
}

void *yk_zalloc(size_t n, size_t size)
{
    return calloc(n, size);
}

void *yk_resize(void *old, size_t n, size_t size)
{
    return reallocarray(old, n, size);
}
