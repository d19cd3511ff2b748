/* 60 blocks of hold_unseen, to which only a block points that the library has not seen being made: __libc_malloc. That there is such a
 * block it cannot know before the file "1" is there, when another one of these is freed. Says "at 1" before and "at 2" after; ends when
 * there is the file "2". A thread runs all the time: while none does, one pass of a scan says all, and there is no second.
 * build: -O0 -pthread */
#include <pthread.h>
#include "keep.h"
#define COUNT 60
extern void *__libc_malloc(size_t);
static void **unseen;
NOIPA static void *hold_unseen(void) {
    char *block = malloc(200);
    CHECK(block != NULL);
    memset(block, 0x5a, 200);
    return block;
}
NOIPA static void scrub(void) {
    volatile char junk[32768];
    memset((void *)junk, 0, sizeof junk);
}
NOIPA static void work(void) {
    unseen = __libc_malloc(COUNT * sizeof *unseen);
    CHECK(unseen != NULL);
    for (int i = 0; i < COUNT; i++) unseen[i] = hold_unseen();
}
static void *run(void *stop) {
    while (!*(volatile int *)stop) continue;
    return NULL;
}
int main(void) {
    static volatile int stop;
    pthread_t runs;
    CHECK(!pthread_create(&runs, NULL, run, (void *)&stop));
    void *another = __libc_malloc(100);
    CHECK(another != NULL);
    work();
    scrub();
    dprintf(1, "at 1\n");
    wait_for_step("1");
    free(another);
    dprintf(1, "at 2\n");
    wait_for_step("2");
    for (int i = 0; i < COUNT; i++) CHECK(*(char *)unseen[i] == 0x5a);
    stop = 1;
    pthread_join(runs, NULL);
    return 0;
}
