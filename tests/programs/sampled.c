/* Sites with a known answer, for sampling: what it allocates is the same in every run.
 * usage: sampled [fork]. Keeps 30000 blocks of 64 bytes in keep_small, 4000 of 700 in keep_middle, 300 of 9000 in keep_large
 * (four threads a quarter each); grows 2000 blocks from 40 to 400 bytes in grow; allocates and frees 200000 blocks in come_and_go,
 * half of them in another thread than they came from. Prints the calls and bytes of all that. With fork it does so in a child. */
#include "keep.h"
#include <pthread.h>
#include <sys/wait.h>

KEEPER(keep_small)
KEEPER(keep_middle)
KEEPER(keep_large)

NOIPA static void *allocate_to_free(size_t bytes) { return malloc(bytes); }
NOIPA static void *come_and_go(size_t bytes) {
    void *block = allocate_to_free(bytes);
    CHECK(block);
    return block;
}
NOIPA static void *grow(void *block) {
    CHECK(block = realloc(block, 400));
    return block;
}

#define SLOTS 1000
static void *volatile handed_over[SLOTS];

static void *work(void *number) {
    int thread = (int)(long)number;
    for (int i = 0; i < 7500; i++) keep_small(64);
    for (int i = 0; i < 1000; i++) keep_middle(700);
    for (int i = 0; i < 75; i++) keep_large(9000);
    for (int i = 0; i < 500; i++) {
        void *block = malloc(40);
        CHECK(block);
        *(void **)(block = grow(block)) = NULL;
        keep_push(block);
    }
    for (int i = 0; i < 50000; i++) {
        void *block = come_and_go(16 + i % 200);
        if (i % 2) {
            free(block);
        } else {
            free(__atomic_exchange_n(&handed_over[(i * 7 + thread) % SLOTS], block, __ATOMIC_SEQ_CST));
        }
    }
    return NULL;
}

int main(int argc, char **argv) {
    if (argc > 1 && strcmp(argv[1], "fork") == 0) {
        keep_small(64);
        pid_t child = fork();
        CHECK(child >= 0);
        if (child > 0) {
            int status;
            CHECK(waitpid(child, &status, 0) == child && status == 0);
            return 0;
        }
    }
    pthread_t threads[4];
    for (long i = 0; i < 4; i++) CHECK(pthread_create(&threads[i], NULL, work, (void *)i) == 0);
    for (int i = 0; i < 4; i++) CHECK(pthread_join(threads[i], NULL) == 0);
    for (int i = 0; i < SLOTS; i++) free(handed_over[i]);
    dprintf(1, "done\n");
    return 0;
}
