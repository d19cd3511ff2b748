/* A process with very many mappings and much address space, little of which was ever touched.
 *
 * build:
 * usage: memory_sparse MAPPINGS
 * Each mapping has 896 KiB, of which two pages are touched; neighbours differ in what they allow, so that the kernel keeps them
 * apart. Prints the slowest mmap and munmap of the second that follows, in microseconds, on stderr.
 */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>

enum { BYTES = 896 << 10 };

__attribute__((noinline)) static char *map_one(int number)
{
    int access = PROT_READ | PROT_WRITE | (number % 2 ? PROT_EXEC : 0);
    char *area = mmap(NULL, BYTES, access, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (area == MAP_FAILED)
        exit(2);
    area[0] = area[BYTES / 2] = 1;
    return area;
}

static double seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec + now.tv_nsec * 1e-9;
}

int main(int argc, char **argv)
{
    int count = argc > 1 ? atoi(argv[1]) : 60000;
    for (int i = 0; i < count; i++)
        map_one(i);
    double slowest = 0;
    for (double end = seconds() + 3; seconds() < end;) {
        double from = seconds();
        void *area = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        munmap(area, 4096);
        double took = seconds() - from;
        slowest = took > slowest ? took : slowest;
        struct timespec pause = {0, 200 * 1000};
        nanosleep(&pause, NULL);
    }
    fprintf(stderr, "slowest %.0f us\n", slowest * 1e6);
    return 0;
}
