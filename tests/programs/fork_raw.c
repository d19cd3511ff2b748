/* Trap 8 behind libc's back: children by syscall(SYS_fork), a raw clone and _Fork, of which no handler tells, while other threads
 * are inside the hook. Without noticing that it is another process the child waits for a lock of a thread that it has not,
 * and what it does is not recorded.
 * The threads keep to arenas of their own, which they fill first: in the child libc's lock of the main arena must be free.
 * usage: fork_raw fork|clone|_Fork TIMES; kept: keep_parent 3 x 333, in the last child keep_child 5 x 50.
 * build: -pthread */
#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include "keep.h"
KEEPER(keep_parent)
KEEPER(keep_child)
static volatile int stop, started;
static void *worker(void *unused) {
    void *first = malloc(100); /* The thread's arena. */
    __atomic_add_fetch(&started, 1, __ATOMIC_SEQ_CST);
    while (!stop) {
        void *blocks[64];
        for (int i = 0; i < 64; i++) CHECK(blocks[i] = malloc(16 + 40 * i));
        for (int i = 0; i < 64; i++) free(blocks[i]);
    }
    free(first);
    return unused;
}
static pid_t raw_fork(const char *how) {
    if (!strcmp(how, "fork")) return (pid_t)syscall(SYS_fork);
    if (!strcmp(how, "clone")) return (pid_t)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
    return _Fork();
}
int main(int argc, char **argv) {
    CHECK(argc == 3);
    int times = atoi(argv[2]);
    pthread_t threads[3];
    for (int i = 0; i < 3; i++) CHECK(!pthread_create(&threads[i], NULL, worker, NULL));
    while (started < 3) usleep(1000);
    for (int i = 0; i < 3; i++) keep_parent(333);
    for (int i = 1; i <= times; i++) {
        pid_t pid = raw_fork(argv[1]);
        CHECK(pid >= 0);
        if (pid == 0) {
            for (int k = 0; k < 200; k++) free(malloc(16 + 40 * k));
            void *p = realloc(malloc(10), 5000);
            CHECK(p);
            free(p);
            if (i == times) {
                for (int k = 0; k < 5; k++) keep_child(50);
                usleep(400000);
            }
            _exit(7);
        }
        int status;
        CHECK(waitpid(pid, &status, 0) == pid);
        CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 7);
    }
    stop = 1;
    for (int i = 0; i < 3; i++) pthread_join(threads[i], NULL);
    puts("ok");
    return 0;
}
