/* Runs under a filter that was there first and refuses what a scan takes. The program installs it, then execs itself: leaktrack
 * starts under it. Each 100 blocks of hold_block and lose_block are held and lost. Says "at 1" and waits for the file 1.
 * usage: filtered_scan kill|refuse NUMBER... (system calls; "copies": clone without CLONE_VM) */
#define _GNU_SOURCE
#include <linux/filter.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include "keep.h"
static void *held[100];
NOIPA static void hold_block(int i) { held[i] = malloc(100); }
NOIPA static void lose_block(void) { *(void *volatile *)malloc(100) = NULL; }
int main(int argc, char **argv) {
    if (argc == 1) {
        for (int i = 0; i < 100; i++) {
            hold_block(i);
            lose_block();
        }
        dprintf(1, "at 1\n");
        wait_for_step("1");
        return held[0] == NULL;
    }
    int kills = strcmp(argv[1], "kill") == 0;
    struct sock_filter code[64];
    struct sock_filter verdict = BPF_STMT(BPF_RET | BPF_K, kills ? SECCOMP_RET_KILL_PROCESS : SECCOMP_RET_ERRNO | EPERM);
    struct sock_filter number = BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr));
    unsigned k = 0;
    for (int i = 2; i < argc; i++) {
        int copies = strcmp(argv[i], "copies") == 0;
        code[k++] = number;
        code[k++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, copies ? SYS_clone : (unsigned)atoi(argv[i]), 0, copies ? 3 : 1);
        if (copies) {
            code[k++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[0]));
            code[k++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, CLONE_VM, 1, 0);
        }
        code[k++] = verdict;
    }
    code[k++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    struct sock_fprog program = {(unsigned short)k, code};
    CHECK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
    CHECK(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program) == 0);
    char *again[] = {argv[0], NULL};
    execv("/proc/self/exe", again);
    return 9;
}
