/* A thread that is alive has the head of an empty ring on its stack, two words that hold their own address, as the control block of
 * a thread has them. Deeper frames hold the only pointers to 60 blocks of hold_deep. Says "at 1" and waits for the file "1".
 * build: -O0 -pthread */
#include "keep.h"
#include <pthread.h>
#define COUNT 60
struct ring {
    struct ring *next;
    void *data;
    struct ring *before;
};
static int ends[2];

NOIPA static void *hold_deep(void) {
    void *block = malloc(200);
    CHECK(block != NULL);
    memset(block, 0x5a, 200);
    return block;
}

NOIPA static void deep(void) {
    void *volatile blocks[COUNT];
    char byte;
    for (int i = 0; i < COUNT; i++) blocks[i] = hold_deep();
    CHECK(read(ends[0], &byte, 1) == 1);
    for (int i = 0; i < COUNT; i++) free(blocks[i]);
}

NOIPA static void *run(void *unused) {
    struct ring head = {&head, NULL, &head};
    struct ring *volatile shown = &head;
    volatile char room[4096];
    memset((void *)room, 0, sizeof room);
    deep();
    CHECK(shown->next == shown);
    return unused;
}

int main(void) {
    pthread_t thread;
    CHECK(pipe(ends) == 0 && pthread_create(&thread, NULL, run, NULL) == 0);
    usleep(200000);
    dprintf(1, "at 1\n");
    wait_for_step("1");
    CHECK(write(ends[1], "", 1) == 1 && pthread_join(thread, NULL) == 0);
    return 0;
}
