/* Memory that never passes through malloc: the program maps it itself.
 *
 * build:  cc -g -O1 -o mmap_growth mmap_growth.c
 * run:    leaktrack run -- ./mmap_growth [SECONDS]        (10)
 *
 * What leaktrack must report:
 *   map_and_keep    kind mmap, growing: 256 KiB every 100 ms, of which the second half is unmapped
 *                   again: 131,072 bytes stay. For 10 s: 100 mappings, 13,107,200 bytes
 *   map_and_return  kind mmap, as many mappings as unmappings, nothing left
 */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

enum { BYTES = 256 * 1024 };

__attribute__((noinline)) static void map_and_keep(void)
{
    char *area = mmap(NULL, BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (area == MAP_FAILED)
        exit(1);
    memset(area, 1, BYTES);
    munmap(area + BYTES / 2, BYTES / 2);
}

__attribute__((noinline)) static void map_and_return(void)
{
    char *area = mmap(NULL, BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (area == MAP_FAILED)
        exit(1);
    memset(area, 1, BYTES);
    munmap(area, BYTES);
}

int main(int argc, char **argv)
{
    int seconds = argc > 1 ? atoi(argv[1]) : 10;
    struct timespec pause = {0, 100 * 1000 * 1000};
    for (int i = 0; i < seconds * 10; i++) {
        map_and_keep();
        map_and_return();
        nanosleep(&pause, NULL);
    }
    return 0;
}
