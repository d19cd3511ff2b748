/* Trap 36: the filter was there first (systemd's SystemCallFilter=, a container's profile) and kills on calls that the
 * program never makes and leaktrack would. The program installs it, then execs itself: leaktrack starts under it.
 * Kept by the second image: keep_inside 4 x 100.
 * usage: filtered_start NUMBER... (system calls that kill) */
#define _GNU_SOURCE
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "keep.h"
KEEPER(keep_inside)
int main(int argc, char **argv) {
    if (argc == 1) {
        for (int i = 0; i < 4; i++) keep_inside(100);
        puts("ok");
        return 0;
    }
    struct sock_filter code[64];
    unsigned k = 0;
    code[k++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr));
    for (int i = 1; i < argc; i++) {
        code[k++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)atoi(argv[i]), 0, 1);
        code[k++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS);
    }
    code[k++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    struct sock_fprog program = {(unsigned short)k, code};
    CHECK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
    CHECK(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program) == 0);
    char *again[] = {argv[0], NULL};
    execv("/proc/self/exe", again);
    return 9;
}
