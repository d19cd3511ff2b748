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
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>

enum { PAGE = 4096, BYTES = 4 << 20 };

static char *small_pages(char *area)
{
    if (area == MAP_FAILED)
        exit(1);
    madvise(area, BYTES, MADV_NOHUGEPAGE); /* also where huge pages are the default */
    return area;
}

__attribute__((noinline)) static char *unlocked_buffer(void)
{
    return small_pages(mmap(NULL, BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
}

__attribute__((noinline)) static char *locked_buffer(void)
{
    char *a = small_pages(mmap(NULL, BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    if (mlock(a, BYTES)) {
        perror("mlock (ulimit -l)");
        exit(1);
    }
    return a;
}

__attribute__((noinline)) static void use(volatile char *area)
{
    for (size_t at = 0; at < BYTES; at += PAGE)
        area[at] = 1;
}

int main(void)
{
    struct timespec pause = {0, 300 * 1000 * 1000};
    nanosleep(&pause, NULL); /* attribution begins some milliseconds after the process does */
    use(unlocked_buffer());
    use(locked_buffer());
    return 0;
}
