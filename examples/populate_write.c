/* MADV_POPULATE_WRITE (Linux 5.14): fills a part of a mapping when it is about to be used, and says when
 * there is not enough memory, where a fault would kill.
 *
 * build:  cc -g -O1 -o populate_write populate_write.c
 * run:    leaktrack run -- ./populate_write
 *
 * What leaktrack must report (where perf is refused: about 32,800 minor faults in all, and why no more):
 *   plain_buffer     64 MiB, 16,384 minor faults; the advice names MADV_POPULATE_WRITE
 *   prepared_buffer  64 MiB resident, no fault; filled by the kernel
 *   in the kernel    about 16,384
 */
#define _GNU_SOURCE
#include <stdio.h>
#include "pages.h"

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

static const size_t BYTES = 64ul << 20;

__attribute__((noinline)) static char *plain_buffer(void)
{
    return FRESH(BYTES, 0);
}

__attribute__((noinline)) static char *prepared_buffer(void)
{
    char *a = FRESH(BYTES, 0);
    if (madvise(a, BYTES, MADV_POPULATE_WRITE)) {
        perror("MADV_POPULATE_WRITE");
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
    use(plain_buffer());
    use(prepared_buffer());
    return 0;
}
