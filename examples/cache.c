/* A cache that fills and then stays: it grows at first, and is no leak.
 *
 * build:  cc -g -O1 -o cache cache.c
 * run:    leaktrack run -- ./cache [SECONDS]        (20)
 *
 * What leaktrack must report:
 *   fill_slot      retained: 1,000 allocations within 5 s; it falls to 921,600 bytes in 900 blocks as
 *                  replace_slot takes over every tenth slot
 *   replace_slot   rises to 102,400 bytes in 100 blocks, then frees as much as it allocates: healthy or
 *                  retained
 *   Together never more than 1,024,000 bytes.
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
