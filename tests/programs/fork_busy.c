/* Trap 8: fork while other threads are inside the hook.
 * Three threads allocate without pause; the main thread forks again and again. A child inherits the hook's locks in the
 * state in which the other threads held them: without a prepare handler the child's first malloc waits for ever.
 * usage: fork_busy FORKS; kept: keep_parent 3 x 333.
 * build: -pthread */
#include <pthread.h>
#include <sys/wait.h>
#include "keep.h"
KEEPER(keep_parent)
KEEPER(keep_child)
CHURNER(churn)
static volatile int stop;
static void *worker(void *unused) {
    while (!stop) churn();
    return unused;
}
int main(int argc, char **argv) {
    int forks = argc > 1 ? atoi(argv[1]) : 1000;
    pthread_t threads[3];
    for (int i = 0; i < 3; i++) CHECK(!pthread_create(&threads[i], NULL, worker, NULL));
    for (int i = 0; i < forks; i++) {
        pid_t pid = fork();
        CHECK(pid >= 0);
        if (pid == 0) {
            churn();
            keep_child(50);
            void *p = realloc(malloc(10), 100000);
            CHECK(p);
            free(p);
            /* A grandchild, at times. */
            if (i % 50 == 0) {
                pid_t grandchild = fork();
                if (grandchild == 0) churn(), _exit(3);
                int status;
                CHECK(waitpid(grandchild, &status, 0) == grandchild && WIFEXITED(status) && WEXITSTATUS(status) == 3);
            }
            _exit(7);
        }
        int status;
        CHECK(waitpid(pid, &status, 0) == pid);
        CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 7);
    }
    stop = 1;
    for (int i = 0; i < 3; i++) pthread_join(threads[i], NULL);
    for (int i = 0; i < 3; i++) keep_parent(333);
    puts("ok");
    return 0;
}
