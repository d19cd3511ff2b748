/* Memory that is swapped out, in known amounts or under a limit that is too low.
 *
 * build:
 * usage: swapped out | swapped short SECONDS
 * It differs from the others in that it needs swap space. `out` has 12 MiB of a block of 16 MiB and half of a mapping of
 * 8 MiB swapped out, prints what the kernel says of that, and ends. `short` goes round 96 MiB for some seconds, in a
 * cgroup that grants less.
 */
#define _GNU_SOURCE
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#ifndef MADV_PAGEOUT
#define MADV_PAGEOUT 21
#endif

enum { MIB = 1 << 20, PAGE = 4096 };

__attribute__((noinline)) static char *cold_block(void) { return memset(malloc(16 * MIB), 1, 16 * MIB); }
__attribute__((noinline)) static char *large_block(void) { return memset(malloc(96 * MIB), 1, 96 * MIB); }

__attribute__((noinline)) static char *cold_mapping(void)
{
    char *area = mmap(NULL, 8 * MIB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return memset(area, 2, 8 * MIB);
}

static double seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec + now.tv_nsec * 1e-9;
}

static long swapped_kib(void)
{
    char line[256];
    long kib = 0;
    FILE *status = fopen("/proc/self/status", "r");
    while (fgets(line, sizeof line, status) && sscanf(line, "VmSwap: %ld", &kib) != 1)
        ;
    fclose(status);
    return kib;
}

int main(int argc, char **argv)
{
    if (strcmp(argv[1], "out") == 0) {
        char *block = cold_block(), *mapping = cold_mapping();
        char *first = (char *)(((uintptr_t)block + PAGE - 1) & ~(uintptr_t)(PAGE - 1));
        if (madvise(first, 12 * MIB, MADV_PAGEOUT) || madvise(mapping, 4 * MIB, MADV_PAGEOUT))
            return 2;
        /* Not every page goes at the first attempt. */
        for (double end = seconds() + 5; swapped_kib() < 16 * 1024 && seconds() < end;) {
            madvise(first, 12 * MIB, MADV_PAGEOUT);
            madvise(mapping, 4 * MIB, MADV_PAGEOUT);
        }
        printf("%ld\n", swapped_kib());
        fflush(stdout);
        __asm__ volatile("" : : "r"(block), "r"(mapping) : "memory");
        return 0;
    }
    volatile char *block = large_block();
    for (double end = seconds() + (argc > 2 ? atoi(argv[2]) : 3); seconds() < end;)
        for (size_t at = 0; at < 96ul * MIB; at += PAGE)
            block[at]++;
    printf("done\n");
    return 0;
}
