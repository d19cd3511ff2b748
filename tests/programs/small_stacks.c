/* Trap 37, 38: stacks of a few KiB.
 * A signal handler on the smallest alternate stack, a thread with the smallest stack, and makecontext fibers of 16 KiB, all
 * with a guard page below, allocate. A hook that needs KiBs of stack, or an unwinder that reads past a fiber's end, crashes.
 * exit: a thread with a stack of 16 KiB ends the process; _exit: a handler on an alternate stack of 8 KiB does. With helper=off the last
 * snapshot and the scan are made where exit is called.
 * usage: small_stacks altstack|thread|fiber|exit|_exit. The use of the alternate stack, in bytes, goes to the file stack.txt.
 * Kept: keep_altstack 50 x 40, keep_thread 8 x 40, keep_fiber 64 x 40.
 * build: -pthread */
#define _GNU_SOURCE
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <ucontext.h>
#include "keep.h"
KEEPER(keep_altstack)
KEEPER(keep_thread)
KEEPER(keep_fiber)
NOIPA static void little(void) {
    void *volatile p = malloc(24);
    p = realloc(p, 60);
    free(p);
}
static char *guarded(size_t bytes) {
    size_t room = (bytes + 4095) & ~4095ul;
    char *p = mmap(NULL, room + 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(p != MAP_FAILED && mprotect(p, 4096, PROT_NONE) == 0);
    memset(p + 4096, 0xee, room);
    return p + 4096 + (room - bytes);
}
static void handler(int signal) {
    (void)signal;
    keep_altstack(40);
    little();
}
static void on_altstack(void) {
    size_t least = sysconf(_SC_MINSIGSTKSZ);
    if (least < 2048) least = 2048;
    size_t bytes = (least + 2048 + 15) & ~15ul; /* glibc's own malloc and one frame need the rest */
    stack_t stack = {.ss_sp = guarded(bytes), .ss_size = bytes};
    CHECK(sigaltstack(&stack, NULL) == 0);
    struct sigaction action = {.sa_handler = handler, .sa_flags = SA_ONSTACK};
    CHECK(sigaction(SIGUSR1, &action, NULL) == 0);
    for (int i = 0; i < 50; i++) raise(SIGUSR1);
    size_t unused = 0;
    while (unused < bytes && ((unsigned char *)stack.ss_sp)[unused] == 0xee) unused++;
    FILE *out = fopen("stack.txt", "w");
    CHECK(out);
    fprintf(out, "%zu\n", bytes - unused);
    fclose(out);
}
static void *in_thread(void *unused) {
    keep_thread(40);
    for (int i = 0; i < 100; i++) little();
    return unused;
}
static void on_thread(void) {
    pthread_attr_t attributes;
    CHECK(!pthread_attr_init(&attributes));
    CHECK(!pthread_attr_setstacksize(&attributes, PTHREAD_STACK_MIN));
    pthread_t threads[8];
    for (int i = 0; i < 8; i++) CHECK(!pthread_create(&threads[i], &attributes, in_thread, NULL));
    for (int i = 0; i < 8; i++) pthread_join(threads[i], NULL);
}
static ucontext_t scheduler, fibers[64];
NOIPA static void deeper(int depth) {
    if (depth) deeper(depth - 1);
    else little();
    __asm__ volatile("" ::: "memory");
}
static void in_fiber(int number) {
    keep_fiber(40);
    for (int i = 0; i < 50; i++) {
        deeper(i % 20);
        swapcontext(&fibers[number], &scheduler);
    }
}
static void on_fibers(void) {
    for (int i = 0; i < 64; i++) {
        CHECK(getcontext(&fibers[i]) == 0);
        fibers[i].uc_stack.ss_sp = guarded(16384);
        fibers[i].uc_stack.ss_size = 16384;
        fibers[i].uc_link = &scheduler;
        makecontext(&fibers[i], (void (*)(void))in_fiber, 1, i);
    }
    for (int round = 0; round < 51; round++)
        for (int i = 0; i < 64; i++) {
            CHECK(swapcontext(&scheduler, &fibers[i]) == 0);
            little();
        }
}
static void *ends(void *unused) {
    keep_thread(40);
    exit(3);
    return unused;
}
static void exit_in_thread(void) {
    pthread_attr_t attributes;
    pthread_t thread;
    CHECK(!pthread_attr_init(&attributes) && !pthread_attr_setstacksize(&attributes, PTHREAD_STACK_MIN));
    CHECK(!pthread_create(&thread, &attributes, ends, NULL));
    pthread_join(thread, NULL);
}
static void ends_at_once(int signal) {
    (void)signal;
    keep_altstack(40);
    _exit(3);
}
static void exit_on_altstack(void) {
    stack_t stack = {.ss_sp = guarded(8192), .ss_size = 8192};
    struct sigaction action = {.sa_handler = ends_at_once, .sa_flags = SA_ONSTACK};
    CHECK(sigaltstack(&stack, NULL) == 0 && sigaction(SIGUSR1, &action, NULL) == 0);
    raise(SIGUSR1);
}
int main(int argc, char **argv) {
    CHECK(argc == 2);
    if (!strcmp(argv[1], "exit")) exit_in_thread();
    if (!strcmp(argv[1], "_exit")) exit_on_altstack();
    if (!strcmp(argv[1], "altstack")) on_altstack();
    else if (!strcmp(argv[1], "thread")) on_thread();
    else on_fibers();
    puts("ok");
    return 0;
}
