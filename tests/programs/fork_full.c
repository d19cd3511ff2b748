/* A process that fills what leaktrack may have of memory, and a child of it that goes on.
 *
 * build: -fno-crossjumping
 * usage: fork_full
 * Keeps 60,000 blocks from 4,096 call paths, says "at fork" and waits for that file; the child keeps 100 blocks of 500 bytes more, says "at child PID",
 * and waits for the file "child". The parent waits for it.
 */
#include "keep.h"
#include <sys/wait.h>

KEEPER(keep_in_parent)
KEEPER(keep_in_child)

NOIPA static void path(unsigned bits, int left)
{
    if (left == 0)
        keep_in_parent(40);
    else if (bits & 1)
        path(bits >> 1, left - 1);
    else
        path(bits >> 1, left - 1);
    __asm__ volatile("" : : : "memory"); /* no tail calls */
}

int main(void)
{
    for (unsigned i = 0; i < 60000; i++)
        path(i, 12);
    dprintf(1, "at fork\n");
    wait_for_step("fork");
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        for (int i = 0; i < 100; i++)
            keep_in_child(500);
        dprintf(1, "at child %d\n", getpid());
        wait_for_step("child");
        _exit(0);
    }
    int status;
    CHECK(waitpid(child, &status, 0) == child && status == 0);
    return 0;
}
