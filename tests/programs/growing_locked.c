/* Locks 4 MiB, and for eight seconds keeps 50 kB more every tenth of a second; with an argument, under a limit of
 * so many MiB of address space more than it has at the start. */
#include "keep.h"
#include <sys/mman.h>
#include <sys/resource.h>
#include <time.h>

static void *volatile kept[80];

static void limit(const char *more_mib)
{
    unsigned long pages = 0;
    FILE *statm = fopen("/proc/self/statm", "r");
    CHECK(statm && fscanf(statm, "%lu", &pages) == 1);
    fclose(statm);
    rlim_t bytes = pages * 4096 + ((rlim_t)atol(more_mib) << 20);
    CHECK(setrlimit(RLIMIT_AS, &(struct rlimit){bytes, bytes}) == 0);
    printf("%lu\n", (unsigned long)bytes);
    fflush(stdout);
}

int main(int argc, char **argv)
{
    if (argc > 1)
        limit(argv[1]);
    size_t bytes = 4 << 20;
    void *area = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(area != MAP_FAILED && mlock(area, bytes) == 0);
    for (int i = 0; i < 80; i++) {
        struct timespec pause = {0, 100 * 1000 * 1000};
        kept[i] = malloc(50000);
        CHECK(kept[i]);
        nanosleep(&pause, NULL);
    }
    return 0;
}
