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
#include "pages.h"

static const size_t BYTES = 64ul << 20;

__attribute__((noinline)) static char *plain_buffer(void)
{
    return FRESH(BYTES, 0);
}

__attribute__((noinline)) static char *populated_buffer(void)
{
    return FRESH(BYTES, MAP_POPULATE);
}

__attribute__((noinline)) static void use(volatile char *area)
{
    write_pages(area, BYTES);
}

int main(void)
{
    settle();
    use(plain_buffer());
    use(populated_buffer());
    return 0;
}
