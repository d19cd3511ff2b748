/* A cache that fills and then stays: it grows at first, and is no leak.
 *
 * build:  cc -g -O1 -o cache cache.c
 * run:    leaktrack run -- ./cache [SECONDS]        (20)
 *
 * What leaktrack must report:
 *   fill_slot      retained: rises to 1,024,000 bytes in 1,000 blocks within 5 s, then nothing more
 *   replace_slot   allocations and frees in equal number once it is full; at the end it holds the
 *                  blocks of the slots it replaced. The sum with fill_slot stays at 1,024,000 bytes
 *   No finding.
 */
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { SLOTS = 1000, BYTES = 1024 };

static char *slots[SLOTS];

__attribute__((noinline)) static void fill_slot(int slot)
{
    slots[slot] = malloc(BYTES);
    memset(slots[slot], slot, BYTES);
}

/* One slot in ten goes stale and is rendered again. */
__attribute__((noinline)) static void replace_slot(int slot)
{
    free(slots[slot]);
    slots[slot] = malloc(BYTES);
    memset(slots[slot], slot, BYTES);
}

int main(int argc, char **argv)
{
    int seconds = argc > 1 ? atoi(argv[1]) : 20;
    struct timespec pause = {0, 5 * 1000 * 1000};
    for (int i = 0; i < seconds * 200; i++) {
        if (i < SLOTS)
            fill_slot(i);
        else if (i % 10 == 0)
            replace_slot(i % SLOTS);
        nanosleep(&pause, NULL);
    }
    return 0;
}
