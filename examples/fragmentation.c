/* Fragmentation: most of the memory is free, and still the process keeps it, because every page of
 * it carries one small block that lives.
 *
 * build:  cc -g -O1 -o fragmentation fragmentation.c
 * run:    leaktrack run -- ./fragmentation [SECONDS]        (10)
 *
 * What leaktrack must report:
 *   make_record   100,000 allocations of 1,000 bytes, of which 12,500,000 bytes in 12,500 blocks
 *                 (every eighth) stay live. They do not grow: retained, no finding
 *   RSS stays near 100 MB although 12.5 MB are live; the difference is memory that is free in the
 *   allocator and cannot go back to the system
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { RECORDS = 100000, BYTES = 1000, KEEP_ONE_IN = 8 };

static void *records[RECORDS];

__attribute__((noinline)) static void *make_record(int i)
{
    return memset(malloc(BYTES), i, BYTES);
}

int main(int argc, char **argv)
{
    int seconds = argc > 1 ? atoi(argv[1]) : 10;
    for (int i = 0; i < RECORDS; i++)
        records[i] = make_record(i);
    sleep(1);
    for (int i = 0; i < RECORDS; i++)
        if (i % KEEP_ONE_IN != 0) {
            free(records[i]);
            records[i] = NULL;
        }
    sleep(seconds);
    return 0;
}
