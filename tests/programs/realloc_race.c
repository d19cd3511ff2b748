/* Trap 17, 18: realloc and free give an address away before they return.
 * Threads move blocks with realloc while others allocate the same sizes: the address that a realloc has just given up is at
 * once another thread's block. A hook that forgets the old address after the real call forgets that one.
 * Kept: keep_thread 8 x 1500 (each a block that was moved many times), and nothing else.
 * build: -pthread */
#include <pthread.h>
#include "keep.h"
CHURNER(churn)
NOIPA static void *keep_thread(void *block) { void *p = realloc(block, 1500); CHECK(p); return p; }
static void *mover(void *seed) {
    unsigned state = (unsigned)(size_t)seed;
    char *blocks[16] = {0};
    for (int i = 0; i < 40000; i++) {
        state = state * 1103515245 + 12345;
        int slot = state >> 16 & 15;
        size_t size = 24 + (state >> 20) % 1200;
        blocks[slot] = realloc(blocks[slot], size);
        CHECK(blocks[slot]);
        blocks[slot][0] = blocks[slot][size - 1] = (char)slot;
    }
    for (int i = 0; i < 16; i++) {
        CHECK(!blocks[i] || blocks[i][0] == i);
        if (i) free(blocks[i]);
    }
    keep_push(keep_thread(blocks[0]));
    return NULL;
}
int main(void) {
    pthread_t threads[8];
    for (size_t i = 0; i < 8; i++) CHECK(!pthread_create(&threads[i], NULL, mover, (void *)(i * 7919 + 1)));
    for (int i = 0; i < 8; i++) pthread_join(threads[i], NULL);
    churn();
    puts("ok");
    return 0;
}
