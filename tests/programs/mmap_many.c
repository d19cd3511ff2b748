/* Trap 28: a hundred thousand mappings' worth of calls, at most a few thousand at once; cut in all places.
 * usage: mmap_many ROUNDS; kept: keep_holes: 500 pages that are left over of 1000, every second one unmapped. */
#include <sys/mman.h>
#include "keep.h"
#define PAGE 4096ul
NOIPA static void keep_holes(void) {
    char *p = mmap(NULL, 1000 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(p != MAP_FAILED);
    for (int i = 0; i < 1000; i += 2) CHECK(munmap(p + i * PAGE, PAGE) == 0);
}
NOIPA static void come_and_go(int rounds) {
    static char *live[2000];
    unsigned state = 1;
    for (int i = 0; i < rounds; i++) {
        state = state * 1103515245 + 12345;
        int slot = (state >> 12) % 2000;
        if (live[slot]) CHECK(munmap(live[slot], 2 * PAGE) == 0);
        live[slot] = mmap(NULL, 2 * PAGE, i % 2 ? PROT_READ : PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        CHECK(live[slot] != MAP_FAILED);
    }
    for (int i = 0; i < 2000; i++)
        if (live[i]) CHECK(munmap(live[i], 2 * PAGE) == 0);
}
int main(int argc, char **argv) {
    keep_holes();
    come_and_go(argc > 1 ? atoi(argv[1]) : 100000);
    puts("ok");
    return 0;
}
