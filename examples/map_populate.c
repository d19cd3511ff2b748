/* MAP_POPULATE: the kernel fills a mapping while it makes it, without a fault for each page.
 *
 * build:  cc -g -O1 -o map_populate map_populate.c
 * run:    leaktrack run -- ./map_populate
 *
 * What leaktrack must report (where perf is refused: about 32,800 minor faults in all, and why no more):
 *   plain_buffer      64 MiB, 16,384 minor faults; the advice names MAP_POPULATE
 *   populated_buffer  64 MiB resident, no fault; filled by the kernel
 *   in the kernel     about 16,384: what MAP_POPULATE did counts as faults, but has no address
 */
#define _GNU_SOURCE
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>

enum { PAGE = 4096 };
static const size_t BYTES = 64ul << 20;

static char *small_pages(char *area)
{
    if (area == MAP_FAILED)
        exit(1);
    madvise(area, BYTES, MADV_NOHUGEPAGE); /* also where huge pages are the default */
    return area;
}

__attribute__((noinline)) static char *plain_buffer(void)
{
    return small_pages(mmap(NULL, BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
}

__attribute__((noinline)) static char *populated_buffer(void)
{
    int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE;
    return small_pages(mmap(NULL, BYTES, PROT_READ | PROT_WRITE, flags, -1, 0));
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
    use(plain_buffer());
    use(populated_buffer());
    return 0;
}
