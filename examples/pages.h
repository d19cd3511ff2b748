/* What the examples about page faults share: mappings of small pages, and the pause before they begin. */
#ifndef PAGES_H
#define PAGES_H

#include <stddef.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>

enum { PAGE = 4096 };

/* Attribution begins some milliseconds after the process does. */
static inline void settle(void)
{
    struct timespec pause = {0, 300 * 1000 * 1000};
    nanosleep(&pause, NULL);
}

/* The same memory, in pages of 4 KiB also where huge pages are the default. */
static inline char *of_small_pages(char *area, size_t bytes)
{
    if (area == MAP_FAILED)
        exit(1);
    madvise(area, bytes, MADV_NOHUGEPAGE);
    return area;
}

/* A fresh private mapping, made where this is written: its site is the function around it. */
#define FRESH(bytes, more_flags)                                                                                  \
    of_small_pages(mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | (more_flags), -1, 0), bytes)

/* Writes to each page: in the function around it, which is then the one that touched them first. */
#define write_pages(area, bytes)                                                                                  \
    for (size_t at = 0; at < (bytes); at += PAGE)                                                                 \
    (area)[at] = 1

static inline double now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1e3 + now.tv_nsec / 1e6;
}

#endif
