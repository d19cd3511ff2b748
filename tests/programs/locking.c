/* Locks 4 MiB and keeps it to the end. */
#define _GNU_SOURCE
#include <stdio.h>
#include <sys/mman.h>
#include <time.h>

int main(void)
{
    size_t bytes = 4 << 20;
    void *area = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (area == MAP_FAILED || mlock(area, bytes))
        return 1;
    struct timespec pause = {0, 500 * 1000 * 1000};
    nanosleep(&pause, NULL);
    puts("locked");
    return 0;
}
