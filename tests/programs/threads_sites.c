/* Threads by the thousand, each at sites by the ten thousand.
 * usage: threads_sites THREADS SITES: all THREADS live at once; each allocates and frees a block of 48 bytes under SITES
 * different stacks, the same in every thread, and keeps the block of every hundredth (keep_every: THREADS * SITES / 100).
 * build: -pthread */
#include <pthread.h>
#include "keep.h"
NOIPA static void level(int depth, unsigned path, int keep) {
    if (depth == 0) {
        void *block = malloc(48);
        CHECK(block);
        if (keep)
            keep_push(block);
        else
            free(block);
    } else if (path & 1) {
        level(depth - 1, path >> 1, keep);
        __asm__ volatile("nop");
    } else {
        level(depth - 1, path >> 1, keep);
        __asm__ volatile("nop; nop");
    }
}
static unsigned sites;
static pthread_barrier_t barrier;
static void *thread(void *unused) {
    pthread_barrier_wait(&barrier);
    for (unsigned i = 0; i < sites; i++) level(15, i, i % 100 == 0);
    pthread_barrier_wait(&barrier);
    return unused;
}
int main(int argc, char **argv) {
    CHECK(argc == 3);
    int threads = atoi(argv[1]);
    sites = (unsigned)atoi(argv[2]);
    pthread_attr_t attributes;
    CHECK(!pthread_attr_init(&attributes) && !pthread_attr_setstacksize(&attributes, 65536));
    pthread_t *all = malloc(threads * sizeof *all);
    CHECK(all && !pthread_barrier_init(&barrier, NULL, threads));
    for (int i = 0; i < threads; i++) CHECK(!pthread_create(&all[i], &attributes, thread, NULL));
    for (int i = 0; i < threads; i++) CHECK(!pthread_join(all[i], NULL));
    puts("ok");
    return 0;
}
