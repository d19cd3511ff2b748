/* Trap 9: the child is the server.
 * Kept before the fork: keep_inherited 8 x 1000 (counts once, in the parent, until the child frees it). The child frees two
 * of them, keeps keep_child 5 x 500 and ends by exit; its grandchild keeps keep_grandchild 4 x 250.
 * usage: fork_server MILLISECONDS: how long each child lives after its last allocation. */
#include <sys/wait.h>
#include "keep.h"
KEEPER(keep_inherited)
KEEPER(keep_child)
KEEPER(keep_grandchild)
static void drop_one(void) {
    void *block = kept_head;
    memcpy((void *)&kept_head, block, sizeof(void *));
    free(block);
}
static void wait_for(pid_t pid) {
    int status;
    CHECK(pid > 0 && waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 0);
}
int main(int argc, char **argv) {
    useconds_t rest = argc > 1 ? atoi(argv[1]) * 1000u : 0;
    for (int i = 0; i < 8; i++) keep_inherited(1000);
    pid_t pid = fork();
    if (pid == 0) {
        drop_one();
        drop_one();
        for (int i = 0; i < 5; i++) keep_child(500);
        pid_t grandchild = fork();
        if (grandchild == 0) {
            for (int i = 0; i < 4; i++) keep_grandchild(250);
            usleep(rest);
            exit(0);
        }
        usleep(rest);
        wait_for(grandchild);
        exit(0);
    }
    wait_for(pid);
    puts("ok");
    return 0;
}
