/* Trap 10: vfork, posix_spawn, system, popen, clone(CLONE_VM|CLONE_VFORK) while another thread allocates.
 * The child shares memory with its parent and no fork handler runs: a hook that caches the pid or a lock owner, or that
 * takes a fork in the child for one of its own, corrupts the parent.
 * Kept: keep_parent 4 x 444, keep_shared 40 x 32 (by children that share the memory: the blocks are the parent's).
 * build: -pthread */
#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include "keep.h"
KEEPER(keep_parent)
KEEPER(keep_shared)
CHURNER(churn)
extern char **environ;
static volatile int stop;
static void *worker(void *unused) {
    while (!stop) churn(), usleep(50);
    return unused;
}
static int in_clone(void *unused) {
    (void)unused;
    keep_shared(32);
    churn();
    return 5;
}
static void wait_for(pid_t pid, int code) {
    int status;
    CHECK(pid > 0 && waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == code);
}
int main(void) {
    pthread_t thread;
    CHECK(!pthread_create(&thread, NULL, worker, NULL));
    static char stack[65536] __attribute__((aligned(16)));
    for (int i = 0; i < 20; i++) {
        pid_t pid = vfork();
        if (pid == 0) {
            keep_shared(32);
            _exit(4);
        }
        wait_for(pid, 4);
        wait_for(clone(in_clone, stack + sizeof stack, CLONE_VM | CLONE_VFORK | SIGCHLD, NULL), 5);
        char *argv[] = {"sh", "-c", "exit 6", NULL};
        CHECK(posix_spawn(&pid, "/bin/sh", NULL, NULL, argv, environ) == 0);
        wait_for(pid, 6);
        pid = vfork();
        if (pid == 0) {
            execl("/bin/true", "true", (char *)NULL);
            _exit(127);
        }
        wait_for(pid, 0);
    }
    CHECK(WEXITSTATUS(system("exit 9")) == 9);
    char line[100] = "";
    FILE *pipe = popen("echo through a pipe", "r");
    CHECK(pipe && fgets(line, sizeof line, pipe));
    fputs(line, stdout);
    CHECK(pclose(pipe) == 0);
    stop = 1;
    pthread_join(thread, NULL);
    for (int i = 0; i < 4; i++) keep_parent(444);
    puts("ok");
    return 0;
}
