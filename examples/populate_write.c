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
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

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

__attribute__((noinline)) static char *prepared_buffer(void)
{
    char *a = small_pages(mmap(NULL, BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    if (madvise(a, BYTES, MADV_POPULATE_WRITE)) {
        perror("MADV_POPULATE_WRITE");
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
    use(plain_buffer());
    use(prepared_buffer());
    return 0;
}
