/* mlock of the one buffer that must not wait: it is filled at once and never swapped, and the rest of the
 * process stays as it is.
 *
 * build:  cc -g -O1 -o mlock mlock.c
 * run:    leaktrack run -- ./mlock
 *
 * What leaktrack must report (where perf is refused: the sum of the faults alone):
 *   unlocked_buffer  4 MiB, 1,024 minor faults; the advice names mlock
 *   locked_buffer    4 MiB resident, no fault; filled by the kernel
 *   Locked           4.0 MiB, the limit (ulimit -l) beside it
 */
#define _GNU_SOURCE
#include <stdio.h>
#include "pages.h"

enum { BYTES = 4 << 20 };

__attribute__((noinline)) static char *unlocked_buffer(void)
{
    return FRESH(BYTES, 0);
}

__attribute__((noinline)) static char *locked_buffer(void)
{
    char *a = FRESH(BYTES, 0);
    if (mlock(a, BYTES)) {
        perror("mlock (ulimit -l)");
        exit(1);
    }
    return a;
}

__attribute__((noinline)) static void use(volatile char *area)
{
    write_pages(area, BYTES);
}

int main(void)
{
    settle();
    use(unlocked_buffer());
    use(locked_buffer());
    return 0;
}
