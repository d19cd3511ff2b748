/* mlockall: nothing of the process is swapped any more, and what it maps from then on is filled at once,
 * whether it is used or not.
 *
 * build:  cc -g -O1 -o mlockall mlockall.c
 * run:    leaktrack run -- ./mlockall        (needs ulimit -l of 256 MiB, or CAP_IPC_LOCK)
 *
 * What leaktrack must report (where perf is refused: the sum of the faults alone):
 *   before     16 MiB mapped, 4 MiB of it used: 1,024 minor faults, 4 MiB resident until mlockall fills it
 *   after      16 MiB mapped, 4 MiB of it used: no fault, and all 16 MiB resident, filled by the kernel:
 *              the price of locking everything
 *   Locked     at least 32 MiB
 */
#define _GNU_SOURCE
#include <stdio.h>
#include "pages.h"

enum { MAPPED = 16 << 20, USED = 4 << 20 };

__attribute__((noinline)) static char *before(void)
{
    return FRESH(MAPPED, 0);
}

__attribute__((noinline)) static char *after(void)
{
    return FRESH(MAPPED, 0);
}

__attribute__((noinline)) static void use(volatile char *area)
{
    write_pages(area, USED);
}

int main(void)
{
    settle();
    use(before());
    if (mlockall(MCL_CURRENT | MCL_FUTURE)) {
        perror("mlockall (ulimit -l)");
        return 1;
    }
    use(after());
    settle();
    return 0;
}
