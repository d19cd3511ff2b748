/* Trap 36: seccomp's strict mode leaves read, write, exit and sigreturn.
 * The program takes its memory first, then works inside what malloc already has. Any other system call of a hook kills it
 * (SIGKILL); a helper thread that goes on keeps the process alive for ever after the program's own thread has ended.
 * Kept: keep_before 4 x 100, keep_inside 5 x 100. */
#include <linux/seccomp.h>
#include <malloc.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include "keep.h"
KEEPER(keep_before)
KEEPER(keep_inside)
CHURNER(churn)
int main(void) {
    mallopt(M_MMAP_THRESHOLD, 32 << 20);
    mallopt(M_TRIM_THRESHOLD, 64 << 20);
    void *volatile room = malloc(8 << 20);
    CHECK(room);
    memset(room, 1, 8 << 20);
    free(room);
    for (int i = 0; i < 4; i++) keep_before(100);
    churn();
    CHECK(write(1, "before\n", 7) == 7);
    if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT)) {
        CHECK(write(1, "no seccomp\n", 11) == 11);
        return 0;
    }
    for (int i = 0; i < 5; i++) keep_inside(100);
    for (int i = 0; i < 2000; i++) churn();
    void *p = malloc(100);
    for (int i = 0; i < 100; i++) p = realloc(p, 100 + i * 50);
    free(p);
    if (write(1, "inside\n", 7) != 7) return 1;
    syscall(SYS_exit, 0);
    return 2;
}
