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
#include "pages.h"

static const size_t BYTES = 64ul << 20;

__attribute__((noinline)) static char *late_buffer(void)
{
    return FRESH(BYTES, 0);
}

__attribute__((noinline)) static char *early_buffer(void)
{
    return FRESH(BYTES, 0);
}

__attribute__((noinline)) static void touch_all(volatile char *area)
{
    for (size_t at = 0; at < BYTES; at += PAGE)
        area[at] = 0;
}

__attribute__((noinline)) static double serve(volatile char *area)
{
    double from_ms = now_ms();
    write_pages(area, BYTES);
    return now_ms() - from_ms;
}

int main(void)
{
    settle();
    char *late = late_buffer(), *early = early_buffer();
    touch_all(early);
    fprintf(stderr, "not touched before: %.1f ms\n", serve(late));
    fprintf(stderr, "touched before:     %.1f ms\n", serve(early));
    return 0;
}
