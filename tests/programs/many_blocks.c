/* More live blocks than leaktrack's memory has room for.
 * usage: many_blocks THOUSANDS: so many thousand blocks in all, live at the same time: half in keep_small (16 bytes), three
 * eighths in keep_middle (24 to 56 bytes, 40 on average), an eighth in keep_large (200 bytes). Then frees every block of
 * keep_middle again. Before and after that it waits for a file named 1 and 2, if the argument "steps" follows. */
#include "keep.h"

static void *small, *middle, *large;

static void push(void **list, size_t bytes) {
    void *block = malloc(bytes);
    CHECK(block);
    memcpy(block, list, sizeof *list);
    *list = block;
}
NOIPA static void keep_small(void) { push(&small, 16); __asm__ volatile(""); }
NOIPA static void keep_middle(int i) { push(&middle, 24 + 16 * (i % 3)); __asm__ volatile(""); }
NOIPA static void keep_large(void) { push(&large, 200); __asm__ volatile(""); }

int main(int argc, char **argv) {
    CHECK(argc >= 2);
    long blocks = atol(argv[1]) * 1000;
    for (long i = 0; i < blocks; i += 8) {
        for (int k = 0; k < 4; k++) keep_small();
        for (int k = 0; k < 3; k++) keep_middle(k);
        keep_large();
    }
    dprintf(1, "at 1\n");
    if (argc > 2)
        while (access("1", F_OK)) usleep(10000);
    while (middle) {
        void *block = middle;
        memcpy(&middle, block, sizeof middle);
        free(block);
    }
    dprintf(1, "at 2\n");
    if (argc > 2)
        while (access("2", F_OK)) usleep(10000);
    return 0;
}
