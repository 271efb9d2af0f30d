/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * plant - puts the bug in force that YOKE_PLANT numbers, in a program of laws
 * that tests/sim/planted runs.
 */
#include "base/plant.h"

#include <stdlib.h>

__attribute__((constructor)) static void plant(void)
{
    const char *number = getenv("YOKE_PLANT");

    if (number)
        plant_now = (enum plant)atoi(number);
}
