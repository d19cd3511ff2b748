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
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>

enum { PAGE = 4096, MAPPED = 16 << 20, USED = 4 << 20 };

static char *small_pages(char *area)
{
    if (area == MAP_FAILED)
        exit(1);
    madvise(area, MAPPED, MADV_NOHUGEPAGE); /* also where huge pages are the default */
    return area;
}

__attribute__((noinline)) static char *before(void)
{
    return small_pages(mmap(NULL, MAPPED, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
}

__attribute__((noinline)) static char *after(void)
{
    return small_pages(mmap(NULL, MAPPED, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
}

__attribute__((noinline)) static void use(volatile char *area)
{
    for (size_t at = 0; at < USED; at += PAGE)
        area[at] = 1;
}

int main(void)
{
    struct timespec pause = {0, 300 * 1000 * 1000};
    nanosleep(&pause, NULL); /* attribution begins some milliseconds after the process does */
    use(before());
    if (mlockall(MCL_CURRENT | MCL_FUTURE)) {
        perror("mlockall (ulimit -l)");
        return 1;
    }
    use(after());
    nanosleep(&pause, NULL);
    return 0;
}
