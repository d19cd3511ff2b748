/* Faults in known numbers: maps fresh memory and touches it, at a rate, for a time.
 * usage: faulting PAGES_PER_SECOND SECONDS; ends before that time when there is a file "end"
 */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    long pages_per_s = argc > 1 ? atol(argv[1]) : 1000;
    int seconds = argc > 2 ? atoi(argv[2]) : 5;
    struct timespec pause = {0, 100 * 1000 * 1000};
    long touched = 0;
    for (int tick = 0; tick < seconds * 10 && access("end", F_OK) != 0; tick++) {
        long pages = pages_per_s / 10;
        char *area = mmap(NULL, (size_t)pages * 4096, PROT_READ | PROT_WRITE,
                          MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (area == MAP_FAILED)
            return 1;
        madvise(area, (size_t)pages * 4096, MADV_NOHUGEPAGE);
        for (long page = 0; page < pages; page++)
            area[page * 4096] = 1;
        munmap(area, (size_t)pages * 4096);
        touched += pages;
        nanosleep(&pause, NULL);
    }
    printf("%ld\n", touched);
    return 0;
}
