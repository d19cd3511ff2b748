/* Trap 13: calls that the kernel or glibc allow only in a process of one thread.
 * unshare(CLONE_NEWUSER) fails with EINVAL when any other thread exists; glibc leaves its single-thread fast paths, and
 * says so in __libc_single_threaded, after one pthread_create. A helper thread must not be seen by either.
 * usage: single_thread MILLISECONDS; kept: keep_before 3 x 90, keep_after 4 x 90. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <sched.h>
#include <sys/single_threaded.h>
#include <sys/wait.h>
#include "keep.h"
KEEPER(keep_before)
KEEPER(keep_after)
CHURNER(churn)
static void linger(int milliseconds) {
    for (int waited = 0; waited < milliseconds; waited += 10) churn(), usleep(10000);
}
int main(int argc, char **argv) {
    int milliseconds = argc > 1 ? atoi(argv[1]) : 0;
    for (int i = 0; i < 3; i++) keep_before(90);
    linger(milliseconds); /* time for a helper to start */
    printf("single-threaded: %d\n", __libc_single_threaded);
    int own = open("/proc/self/ns/mnt", O_RDONLY | O_CLOEXEC);
    printf("namespace file: %d\n", own >= 0);
    errno = 0;
    int joined = setns(own, CLONE_NEWNS);
    printf("setns: %d %d\n", joined, errno);
    errno = 0;
    int unshared = unshare(CLONE_NEWUSER);
    printf("unshare: %d %d\n", unshared, errno);
    printf("uid: %u\n", (unsigned)getuid());
    errno = 0;
    unshared = unshare(CLONE_FS | CLONE_FILES | CLONE_NEWUTS);
    printf("unshare: %d %d\n", unshared, errno);
    for (int i = 0; i < 4; i++) keep_after(90);
    linger(milliseconds);
    printf("single-threaded: %d\n", __libc_single_threaded);
    close(own);
    puts("ok");
    return 0;
}
