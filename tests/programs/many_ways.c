/* One leak that 512 call stacks lead to, one block through each in turn and by the clock: none of them grows by more
 * than a few blocks. Beside it a second line leaks as fast through one stack. Prints the number of ways and the bytes
 * that the first line keeps.
 * usage: many_ways [SECONDS (3)] */
#include <time.h>
#include "keep.h"

enum { TURNS = 9, WAYS = 1 << TURNS, BYTES = 256 };

KEEPER(through_one)
KEEPER(through_many)

/* Whether a turn goes left or right is a bit of the number of the way. */
NOIPA static void turn(unsigned way, int left) {
    if (left == 0)
        through_many(BYTES);
    else if (way & 1)
        turn(way >> 1, left - 1);
    else {
        turn(way >> 1, left - 1);
        __asm__ volatile("nop"); /* or the compiler makes one call of the two */
    }
    __asm__ volatile("" ::: "memory");
}

static double now_s(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec + now.tv_nsec / 1e9;
}

int main(int argc, char **argv) {
    double seconds = argc > 1 ? atof(argv[1]) : 3, started_s = now_s();
    int done = 0;
    for (; done < seconds * 1000; done++) {
        while (now_s() - started_s < done / 1000.0) usleep(2000);
        turn(done % WAYS, TURNS);
        through_one(BYTES);
    }
    printf("%d %d\n", WAYS, done * BYTES);
    return 0;
}
