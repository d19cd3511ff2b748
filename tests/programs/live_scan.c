/* A process that goes on with blocks that it holds in every way a root can be, and with blocks that it lost.
 * 60 blocks from each function: those of hold_... are held, those of lose_... lost, of lose_trees and lose_cycles with
 * another 60 that only they point to. Says "at N" and waits for the file N, as steps.c does; before step 2 it loses 60 more
 * in lose_later.
 * build: -O0 -pthread */
#define _GNU_SOURCE
#include "keep.h"
#include <pthread.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <ucontext.h>
#define COUNT 60
#define BYTES 200
#define MAKER(name)                              \
    NOIPA static void *name(void) {              \
        char *block = malloc(BYTES);             \
        CHECK(block != NULL);                    \
        memset(block, 0x5a, BYTES);              \
        return block;                            \
    }
/* Puts the blocks of a maker where `place` says. */
#define EACH(maker, place)                       \
    for (int i = 0; i < COUNT; i++) place = maker()

MAKER(hold_global) MAKER(hold_tls) MAKER(hold_thread_tls) MAKER(hold_key) MAKER(hold_heap) MAKER(hold_mapping)
MAKER(hold_read_only) MAKER(hold_no_access) MAKER(hold_shared) MAKER(hold_stack) MAKER(hold_thread_stack) MAKER(hold_fiber)
MAKER(hold_tagged) MAKER(hold_packed) MAKER(hold_large) MAKER(hold_inner)
MAKER(lose_plain) MAKER(lose_trees) MAKER(lose_cycles) MAKER(lose_freed) MAKER(lose_thread) MAKER(lose_dead_frame)
MAKER(lose_later)

static void *global[COUNT], *tagged[COUNT], *inner[COUNT], **heap, **mapping, **read_only, **no_access, **shared, **large;
static __thread void *tls[COUNT];
static char packed[COUNT * 9 + 8];
static volatile int ready;

NOIPA static void scrub(void) {
    volatile char junk[32768];
    memset((void *)junk, 0, sizeof junk);
}

static void **map(int flags) {
    void *p = mmap(0, 4096, PROT_READ | PROT_WRITE, flags | MAP_ANONYMOUS, -1, 0);
    CHECK(p != MAP_FAILED);
    return p;
}

NOIPA static void lose(void) {
    for (int i = 0; i < COUNT; i++) {
        lose_plain();
        void **tree = lose_trees(), **a = lose_cycles(), **b = lose_cycles();
        tree[3] = lose_trees();
        a[0] = b;
        b[0] = a;
    }
}

NOIPA static void lose_in_freed(void) {
    void **holder = malloc(sizeof(void *) * (COUNT + 8));
    CHECK(holder != NULL);
    EACH(lose_freed, holder[8 + i]);
    free(holder);
}

NOIPA static void lose_in_frame(void) {
    void *volatile frame[COUNT];
    EACH(lose_dead_frame, frame[i]);
    (void)frame[1];
}

static void *ended(void *unused) {
    void *volatile frame[COUNT];
    (void)unused;
    EACH(lose_thread, frame[i]);
    (void)frame[1];
    return NULL;
}

static void *sleeper(void *unused) {
    void *volatile frame[COUNT];
    (void)unused;
    EACH(hold_thread_stack, frame[i]);
    EACH(hold_thread_tls, tls[i]);
    scrub();
    ready = 1;
    for (;;) pause();
    return (void *)frame[1];
}

static ucontext_t in_main, in_fiber;
static void fiber(void) {
    void *volatile frame[COUNT];
    EACH(hold_fiber, frame[i]);
    swapcontext(&in_fiber, &in_main);
    free((void *)frame[1]);
}

NOIPA static void hold(void) {
    EACH(hold_global, global[i]);
    EACH(hold_tls, tls[i]);
    heap = malloc(sizeof(void *) * COUNT);
    EACH(hold_heap, heap[i]);
    mapping = map(MAP_PRIVATE);
    EACH(hold_mapping, mapping[i]);
    read_only = map(MAP_PRIVATE);
    EACH(hold_read_only, read_only[i]);
    mprotect(read_only, 4096, PROT_READ);
    no_access = map(MAP_PRIVATE);
    EACH(hold_no_access, no_access[i]);
    mprotect(no_access, 4096, PROT_NONE);
    shared = map(MAP_SHARED);
    EACH(hold_shared, shared[i]);
    large = malloc(8 << 20);
    CHECK(large != NULL);
    EACH(hold_large, large[1000 * i + 500]);
    for (int i = 0; i < COUNT; i++) {
        tagged[i] = (void *)((uintptr_t)hold_tagged() | (i % 7 + 1));
        void *block = hold_packed();
        memcpy(packed + 3 + 9 * i, &block, sizeof block);
        uint64_t *sized = hold_inner(); /* its length stands in front of what the pointer leads to */
        sized[0] = BYTES - 8;
        inner[i] = sized + 1;
    }
    pthread_key_t key;
    for (int i = 0; i < 60; i++) CHECK(pthread_key_create(&key, NULL) == 0);
    void **of_key = malloc(sizeof(void *) * COUNT);
    CHECK(of_key != NULL && pthread_setspecific(key, of_key) == 0);
    EACH(hold_key, of_key[i]);
    CHECK(getcontext(&in_fiber) == 0);
    in_fiber.uc_stack.ss_sp = mmap(0, 65536, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    in_fiber.uc_stack.ss_size = 65536;
    in_fiber.uc_link = &in_main;
    makecontext(&in_fiber, fiber, 0);
    swapcontext(&in_main, &in_fiber);
}

static void wait_for(const char *step) {
    struct stat found;
    dprintf(1, "at %s\n", step);
    while (stat(step, &found) != 0) usleep(1000);
}

int main(void) {
    void *volatile frame[COUNT];
    EACH(hold_stack, frame[i]);
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, sleeper, NULL) == 0);
    while (!ready) usleep(1000);
    hold();
    lose();
    lose_in_freed();
    lose_in_frame();
    CHECK(pthread_create(&thread, NULL, ended, NULL) == 0 && pthread_join(thread, NULL) == 0);
    scrub();
    wait_for("1");
    for (int i = 0; i < COUNT; i++) lose_later();
    scrub();
    wait_for("2");
    exit(frame[3] == NULL);
}
