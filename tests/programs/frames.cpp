/* Stacks that are hard to unwind: every block must still be told under the right function, and no one may crash.
 * Exceptions and longjmp through frames, alloca, variable-length arrays, realigned stacks, functions with a frame pointer,
 * a signal handler, deep recursion, a call through the PLT (qsort), a thread.
 * Kept (32 bytes each): keep_in_catch 20, keep_after_longjmp 20, keep_in_alloca 20, keep_in_vla 20, keep_in_realigned 20,
 * keep_with_frame_pointer 20, keep_in_handler 20, keep_in_recursion 20, keep_in_callback 20, keep_in_thread 20.
 * build: -pthread -Wno-unused-but-set-variable -Wno-infinite-recursion */
#include <alloca.h>
#include <csetjmp>
#include <csignal>
#include <pthread.h>
#include <stdexcept>
#include "keep.h"
KEEPER(keep_block)
#define CALL() do { keep_block(32); __asm__ volatile("" ::: "memory"); } while (0)
static volatile int zero;
NOIPA static void throws(int depth) {
    if (depth) throws(depth - 1);
    else throw std::runtime_error("thrown");
    __asm__ volatile("");
}
NOIPA static void keep_in_catch() {
    try {
        throws(12);
    } catch (const std::exception &) {
        CALL();
    }
}
static jmp_buf place;
NOIPA static void jumps(int depth) {
    free(malloc(10 + depth));
    if (depth) jumps(depth - 1);
    else longjmp(place, 1);
    __asm__ volatile("");
}
NOIPA static void keep_after_longjmp() {
    if (setjmp(place) == 0) jumps(15);
    CALL();
}
NOIPA static void keep_in_alloca(int n) {
    volatile char *p = (volatile char *)alloca(100 + n * 40);
    p[n] = 1;
    CALL();
    p[n] = 2;
}
NOIPA static void keep_in_vla(int n) {
    volatile char p[100 + n * 24];
    p[n] = 1;
    CALL();
    p[n] = 2;
}
NOIPA static void keep_in_realigned() {
    alignas(64) volatile char p[256];
    p[zero] = 1;
    CALL();
    p[zero] = 2;
}
__attribute__((noipa, optimize("no-omit-frame-pointer"))) static void keep_with_frame_pointer() { CALL(); }
static void keep_in_handler(int) { CALL(); }
NOIPA static void keep_in_recursion(int depth) {
    if (depth) keep_in_recursion(depth - 1);
    else CALL();
    __asm__ volatile("");
}
static int callbacks;
static int keep_in_callback(const void *a, const void *b) {
    if (callbacks < 20) {
        callbacks++;
        CALL();
    }
    return *(const int *)a - *(const int *)b;
}
static void *keep_in_thread(void *p) {
    CALL();
    return p;
}
int main() {
    signal(SIGUSR1, keep_in_handler);
    for (int i = 0; i < 20; i++) {
        keep_in_catch();
        keep_after_longjmp();
        keep_in_alloca(i);
        keep_in_vla(i);
        keep_in_realigned();
        keep_with_frame_pointer();
        raise(SIGUSR1);
        keep_in_recursion(i * 4);
        pthread_t thread;
        CHECK(!pthread_create(&thread, nullptr, keep_in_thread, nullptr));
        pthread_join(thread, nullptr);
    }
    int numbers[64];
    for (int i = 0; i < 64; i++) numbers[i] = (i * 37) % 64;
    qsort(numbers, 64, sizeof(int), keep_in_callback);
    CHECK(numbers[0] == 0 && numbers[63] == 63);
    puts("ok");
}
