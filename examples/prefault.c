/* Touching memory before it matters: the same faults, at a time when nobody waits for them.
 *
 * build:  cc -g -O1 -o prefault prefault.c
 * run:    leaktrack run -- ./prefault
 *
 * What leaktrack must report (where perf is refused: about 32,800 minor faults in all, and why no more):
 *   late_buffer   64 MiB, 16,384 minor faults, 256 per MiB, touched first by serve; advice to prefault it
 *                 before it matters, or to use huge pages
 *   early_buffer  as many, touched first by touch_all during the warm-up, none by serve
 */
#define _GNU_SOURCE
#include <stdio.h>
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

__attribute__((noinline)) static char *late_buffer(void)
{
    return small_pages(mmap(NULL, BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
}

__attribute__((noinline)) static char *early_buffer(void)
{
    return small_pages(mmap(NULL, BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
}

__attribute__((noinline)) static void touch_all(volatile char *area)
{
    for (size_t at = 0; at < BYTES; at += PAGE)
        area[at] = 0;
}

__attribute__((noinline)) static double serve(volatile char *area)
{
    struct timespec from, to;
    clock_gettime(CLOCK_MONOTONIC, &from);
    for (size_t at = 0; at < BYTES; at += PAGE)
        area[at] = 1;
    clock_gettime(CLOCK_MONOTONIC, &to);
    return (to.tv_sec - from.tv_sec) * 1e3 + (to.tv_nsec - from.tv_nsec) / 1e6;
}

int main(void)
{
    struct timespec pause = {0, 300 * 1000 * 1000};
    nanosleep(&pause, NULL); /* attribution begins some milliseconds after the process does */
    char *late = late_buffer(), *early = early_buffer();
    touch_all(early);
    fprintf(stderr, "not touched before: %.1f ms\n", serve(late));
    fprintf(stderr, "touched before:     %.1f ms\n", serve(early));
    return 0;
}
