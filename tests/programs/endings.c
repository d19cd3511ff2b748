/* Trap 35: all the ways in which a process ends without its exit handlers.
 * usage: endings _exit|_Exit|quick_exit|exit_group|abort|kill|segv|thread_exit|wait: keeps keep_main 10 x 1000, says so,
 * and ends that way (`wait`: only on a signal).
 * With the first three the final state is recorded; after the others the last periodic state stands.
 * build: -pthread */
#include <pthread.h>
#include <signal.h>
#include <sys/syscall.h>
#include "keep.h"
KEEPER(keep_main)
static volatile int *volatile nowhere;
static void *ender(void *unused) {
    (void)unused;
    _exit(45);
}
int main(int argc, char **argv) {
    CHECK(argc == 2);
    const char *how = argv[1];
    for (int i = 0; i < 10; i++) keep_main(1000);
    CHECK(write(1, "kept\n", 5) == 5);
    if (!strcmp(how, "_exit")) _exit(41);
    if (!strcmp(how, "_Exit")) _Exit(42);
    if (!strcmp(how, "quick_exit")) quick_exit(43);
    if (!strcmp(how, "exit_group")) syscall(SYS_exit_group, 44);
    if (!strcmp(how, "abort")) abort();
    if (!strcmp(how, "kill")) kill(getpid(), SIGKILL);
    if (!strcmp(how, "segv")) *nowhere = 1;
    if (!strcmp(how, "thread_exit")) {
        pthread_t thread;
        CHECK(!pthread_create(&thread, NULL, ender, NULL));
        pthread_join(thread, NULL);
    }
    for (;;) pause();
}
