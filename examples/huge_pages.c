/* Huge pages: one fault for 2 MiB instead of 512, and one entry of the TLB.
 *
 * build:  cc -g -O1 -o huge_pages huge_pages.c
 * run:    leaktrack run -- ./huge_pages
 *
 * What leaktrack must report (where perf is refused: the sum of the faults alone):
 *   small_pages  64 MiB, 16,384 minor faults; the advice names MADV_HUGEPAGE
 *   huge_pages   64 MiB, 32 minor faults, if /sys/kernel/mm/transparent_hugepage/enabled is not "never"
 *                and the kernel finds free huge pages; 64 MiB of memory are then told as in huge pages
 */
#define _GNU_SOURCE
#include <stdint.h>
#include "pages.h"

static const size_t BYTES = 64ul << 20, HUGE = 2ul << 20;

static char *aligned(char *area)
{
    if (area == MAP_FAILED)
        exit(1);
    return (char *)(((uintptr_t)area + HUGE - 1) & ~(HUGE - 1));
}

__attribute__((noinline)) static char *small_pages(void)
{
    char *area = mmap(NULL, BYTES + HUGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    madvise(area = aligned(area), BYTES, MADV_NOHUGEPAGE);
    return area;
}

__attribute__((noinline)) static char *huge_pages(void)
{
    char *area = mmap(NULL, BYTES + HUGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    madvise(area = aligned(area), BYTES, MADV_HUGEPAGE);
    return area;
}

__attribute__((noinline)) static void use(volatile char *area)
{
    write_pages(area, BYTES);
}

int main(void)
{
    settle();
    use(small_pages());
    use(huge_pages());
    return 0;
}
