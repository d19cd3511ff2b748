/* Trap 32: a file system that does not answer. The helper hangs in the middle of writing a snapshot, and the program changes
 * its credentials, for which the helper has to end. A hook that waits for it, or for what it holds, hangs as well; one that
 * does not come back to it records nothing from then on.
 * A child stops the helper as it writes (ptrace) and lets it go when the call has returned. Kept: keep_after 3 x 100.
 * Run with children=ignore. */
#define _GNU_SOURCE
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <time.h>
#include "keep.h"
KEEPER(keep_after)
CHURNER(churn)
static pid_t helper_of(pid_t pid) {
    char path[300], name[32];
    snprintf(path, sizeof path, "/proc/%d/task", pid);
    DIR *tasks = opendir(path);
    pid_t found = 0;
    for (struct dirent *entry; tasks && (entry = readdir(tasks));) {
        snprintf(path, sizeof path, "/proc/%d/task/%s/comm", pid, entry->d_name);
        int fd = open(path, O_RDONLY);
        ssize_t bytes = fd < 0 ? 0 : read(fd, name, sizeof name);
        if (bytes == 10 && !memcmp(name, "leaktrack\n", 10)) found = atoi(entry->d_name);
        if (fd >= 0) close(fd);
    }
    if (tasks) closedir(tasks);
    return found;
}
/* Returns when the helper of the parent stands at the entry of process_vm_writev; 0 if there is none. */
static pid_t stop_helper(pid_t parent) {
    pid_t helper = 0;
    int status;
    for (int i = 0; i < 50 && !(helper = helper_of(parent)); i++) usleep(20000);
    if (!helper) return 0;
    CHECK(ptrace(PTRACE_SEIZE, helper, 0, PTRACE_O_TRACESYSGOOD) == 0);
    CHECK(ptrace(PTRACE_INTERRUPT, helper, 0, 0) == 0);
    CHECK(waitpid(helper, &status, __WALL) == helper);
    for (;;) {
        struct user_regs_struct registers;
        CHECK(ptrace(PTRACE_SYSCALL, helper, 0, 0) == 0 && waitpid(helper, &status, __WALL) == helper);
        CHECK(WIFSTOPPED(status));
        if (WSTOPSIG(status) != (SIGTRAP | 0x80)) continue;
        CHECK(ptrace(PTRACE_GETREGS, helper, 0, &registers) == 0);
        if (registers.orig_rax == 311 && (long)registers.rax == -38) return helper;
    }
}
int main(void) {
    int ready[2], go[2];
    char byte;
    CHECK(pipe(ready) == 0 && pipe(go) == 0);
    pid_t parent = getpid(), child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        close(go[1]);
        CHECK(read(go[0], &byte, 1) == 1);
        pid_t helper = stop_helper(parent);
        CHECK(write(ready[1], helper ? "y" : "n", 1) == 1);
        read(go[0], &byte, 1);
        if (helper) ptrace(PTRACE_DETACH, helper, 0, 0);
        _exit(0);
    }
    prctl(PR_SET_PTRACER, child);
    CHECK(write(go[1], "g", 1) == 1 && read(ready[0], &byte, 1) == 1);
    CHECK(setuid(getuid()) == 0);
    puts("setuid returned");
    CHECK(write(go[1], "g", 1) == 1 && wait(NULL) == child);
    pid_t old = byte == 'y' ? helper_of(parent) : 0;
    for (int i = 0; i < 1000 && byte == 'y'; i++) {
        for (int k = 0; k < 100; k++) churn();
        pid_t now = helper_of(parent);
        if (now && now != old) byte = 'n';
        usleep(20000);
    }
    puts(byte == 'n' ? "and there is a helper as before" : "and there is no helper any more");
    for (int i = 0; i < 3; i++) keep_after(100);
    return 0;
}
