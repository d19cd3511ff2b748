/* Trap 36: a filter that leaves the program's tools room, and a program that grows behind it. Without a trial of the filter a
 * hook has to expect that every call kills, gets no more memory, and drops most of what follows.
 * usage: seccomp_growth prctl|tsync deny|hooks BLOCKS
 *   deny   kills on a few calls that neither the program nor leaktrack makes (ptrace, socket, mount)
 *   hooks  allows little more than an allocator needs: no files, no new threads or processes
 * Kept: keep_inside BLOCKS x 48, and with deny in a forked child keep_child 7 x 48. */
#define _GNU_SOURCE
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include "keep.h"
KEEPER(keep_inside)
KEEPER(keep_child)
static const int denied[] = {SYS_ptrace, SYS_socket, SYS_mount};
static const int allowed[] = {SYS_read, SYS_write, SYS_brk, SYS_mmap, SYS_munmap, SYS_mremap, SYS_madvise, SYS_exit, SYS_exit_group,
                              SYS_rt_sigreturn, SYS_clock_nanosleep, SYS_rt_sigprocmask, SYS_futex, SYS_getpid, SYS_gettid,
                              SYS_clock_gettime, SYS_sigaltstack, SYS_process_vm_readv, SYS_getrandom};
#define COUNT(a) (sizeof a / sizeof *a)
int main(int argc, char **argv) {
    CHECK(argc == 4);
    int deny = !strcmp(argv[2], "deny"), blocks = atoi(argv[3]);
    const int *list = deny ? denied : allowed;
    unsigned count = deny ? COUNT(denied) : COUNT(allowed);
    struct sock_filter code[COUNT(allowed) + 3];
    struct sock_fprog program = {(unsigned short)(count + 3), code};
    unsigned listed = deny ? SECCOMP_RET_KILL_PROCESS : SECCOMP_RET_ALLOW;
    unsigned other = deny ? SECCOMP_RET_ALLOW : SECCOMP_RET_KILL_PROCESS;
    code[0] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr));
    for (unsigned i = 0; i < count; i++)
        code[1 + i] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)list[i], (unsigned char)(count - i), 0);
    code[1 + count] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, other);
    code[2 + count] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, listed);
    setvbuf(stdout, NULL, _IONBF, 0);
    CHECK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
    if (!strcmp(argv[1], "prctl")) CHECK(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0);
    else CHECK(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &program) == 0);
    for (int i = 0; i < blocks; i++) keep_inside(48);
    if (deny) {
        pid_t child = fork();
        CHECK(child >= 0);
        if (!child) {
            for (int i = 0; i < 7; i++) keep_child(48);
            usleep(300000);
            return 0;
        }
        int status = 0;
        CHECK(waitpid(child, &status, 0) == child && status == 0);
    } else {
        struct timespec pause = {0, 300000000};
        clock_nanosleep(CLOCK_MONOTONIC, 0, &pause, NULL);
    }
    puts("ok");
    return 0;
}
