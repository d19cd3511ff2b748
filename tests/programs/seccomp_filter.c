/* Trap 36: a filter that kills the process on every call but a handful.
 * The program names the calls that it makes itself; what a hook or a helper adds (openat, process_vm_readv, clone, fallocate,
 * clock_gettime, …) ends it with SIGSYS.
 * usage: seccomp_filter prctl|seccomp|tsync|libseccomp nofutex|futex MILLISECONDS
 * Kept: keep_before 4 x 100, keep_inside 5 x 100.
 * build: -pthread -lseccomp */
#define _GNU_SOURCE
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <seccomp.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>
#include "keep.h"
KEEPER(keep_before)
KEEPER(keep_inside)
CHURNER(churn)
static const int allowed[] = {SYS_read, SYS_write, SYS_brk, SYS_mmap, SYS_munmap, SYS_mremap, SYS_mprotect, SYS_madvise,
                              SYS_exit, SYS_exit_group, SYS_rt_sigreturn, SYS_clock_nanosleep, SYS_rt_sigprocmask, SYS_futex};
#define ALLOWED (sizeof allowed / sizeof *allowed)
static void linger(int milliseconds) {
    for (int waited = 0; waited < milliseconds; waited += 10) {
        struct timespec pause = {0, 10000000};
        churn();
        clock_nanosleep(CLOCK_MONOTONIC, 0, &pause, NULL);
    }
}
static volatile int started, stop;
static void *worker(void *unused) {
    churn();
    started = 1;
    while (!stop) churn();
    return unused;
}
int main(int argc, char **argv) {
    CHECK(argc == 4);
    int with_futex = !strcmp(argv[2], "futex"), milliseconds = atoi(argv[3]);
    unsigned count = with_futex ? ALLOWED : ALLOWED - 1; /* futex is the last */
    for (int i = 0; i < 4; i++) keep_before(100);
    linger(milliseconds);
    pthread_t thread;
    if (with_futex) {
        CHECK(!pthread_create(&thread, NULL, worker, NULL));
        while (!started) usleep(1000);
    }
    setvbuf(stdout, NULL, _IONBF, 0);
    if (!strcmp(argv[1], "libseccomp")) {
        scmp_filter_ctx filter = seccomp_init(SCMP_ACT_KILL_PROCESS);
        CHECK(filter);
        for (unsigned i = 0; i < count; i++) CHECK(seccomp_rule_add(filter, SCMP_ACT_ALLOW, allowed[i], 0) == 0);
        CHECK(seccomp_load(filter) == 0);
    } else {
        struct sock_filter code[ALLOWED + 3];
        struct sock_fprog program = {(unsigned short)(count + 3), code};
        code[0] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr));
        for (unsigned i = 0; i < count; i++)
            code[1 + i] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)allowed[i], (unsigned char)(count - i), 0);
        code[1 + count] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS);
        code[2 + count] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
        CHECK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
        if (!strcmp(argv[1], "prctl")) CHECK(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0);
        else if (!strcmp(argv[1], "seccomp")) CHECK(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program) == 0);
        else CHECK(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &program) == 0);
    }
    for (int i = 0; i < 5; i++) keep_inside(100);
    for (int i = 0; i < 300; i++) churn();
    void *p = malloc(100);
    for (int i = 0; i < 100; i++) CHECK(p = realloc(p, 100 + i * 5000));
    free(p);
    linger(milliseconds);
    stop = 1;
    if (with_futex) pthread_join(thread, NULL);
    puts("ok");
    return 0;
}
