/* Trap 5, 43, 46: threads by the thousand.
 * usage: many_threads TOTAL AT_ONCE: TOTAL threads, AT_ONCE of them at the same time, each allocates from many call sites
 * and ends; what a hook keeps per thread is multiplied by them. Kept: keep_thread TOTAL x 24, freed by main but for every
 * tenth; pthread_create's own blocks are cached by libc and freed or not as it likes.
 * build: -pthread */
#include <pthread.h>
#include "keep.h"
NOIPA static void *keep_thread(size_t n) { void *p = malloc(n); CHECK(p); return p; }
CHURNER(churn)
static pthread_barrier_t barrier;
NOIPA static void sites(int depth, unsigned path) {
    void *volatile p;
    if (depth == 0) return;
    p = malloc(depth * 16);
    if (path & 1) sites(depth - 1, path >> 1);
    else sites(depth - 1, path >> 1);
    free(p);
}
static void *thread(void *number) {
    unsigned path = (unsigned)(size_t)number * 2654435761u >> 16;
    pthread_barrier_wait(&barrier);
    for (int i = 0; i < 16; i++) sites(10, path + i);
    churn();
    void *block = keep_thread(24);
    pthread_barrier_wait(&barrier);
    return block;
}
int main(int argc, char **argv) {
    CHECK(argc == 3);
    int total = atoi(argv[1]), at_once = atoi(argv[2]);
    pthread_attr_t attributes;
    CHECK(!pthread_attr_init(&attributes) && !pthread_attr_setstacksize(&attributes, 65536));
    pthread_t *threads = malloc(at_once * sizeof *threads);
    CHECK(threads && !pthread_barrier_init(&barrier, NULL, at_once));
    for (int done = 0; done < total; done += at_once) {
        for (int i = 0; i < at_once; i++) CHECK(!pthread_create(&threads[i], &attributes, thread, (void *)(size_t)(done + i)));
        for (int i = 0; i < at_once; i++) {
            void *block;
            CHECK(!pthread_join(threads[i], &block));
            if ((done + i) % 10) free(block);
            else keep_push(block);
        }
    }
    free(threads);
    puts("ok");
    return 0;
}
