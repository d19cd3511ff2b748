/* Trap 29: errno after every call that a hook may replace is what it is without.
 * Prints errno after each; run both ways, the texts must be the same. Kept: nothing.
 * build: -pthread */
#include <cerrno>
#include <csignal>
#include <dlfcn.h>
#include <fcntl.h>
#include <grp.h>
#include <malloc.h>
#include <pthread.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include "keep.h"
#define SHOW(what)                                         \
    do {                                                   \
        errno = 4711;                                      \
        what;                                              \
        int saved = errno;                                 \
        printf("%-60.60s errno %d\n", #what, saved);       \
    } while (0)
static void *nothing(void *p) { return p; }
int main() {
    void *volatile p;
    void *volatile q;
    setvbuf(stdout, nullptr, _IOFBF, 1 << 16);
    for (int round = 0; round < 3; round++) {
        SHOW(p = malloc(100));
        SHOW(p = realloc(p, 200));
        SHOW(p = realloc(p, 2000000));
        SHOW(free(p));
        SHOW(p = calloc(4, 40));
        SHOW((void)malloc_usable_size(p));
        SHOW(free(p));
        SHOW(p = memalign(64, 40));
        SHOW(free(p));
        SHOW((void)posix_memalign((void **)&p, 64, 40));
        SHOW(free(p));
        SHOW(p = aligned_alloc(64, 64));
        SHOW(free(p));
        SHOW(p = valloc(64));
        SHOW(free(p));
        SHOW(free(nullptr));
        SHOW(p = reallocarray(nullptr, 4, 40));
        SHOW(free(p));
        SHOW(p = mmap(nullptr, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
        SHOW(p = mremap(p, 8192, 4096, 0));
        SHOW((void)munmap(p, 4096));
        SHOW(p = dlopen("libm.so.6", RTLD_NOW));
        SHOW((void)dlclose(p));
        SHOW(q = new int[1000]; delete[] (int *)q);
        SHOW((void)prctl(PR_GET_DUMPABLE));
        SHOW((void)prctl(-1));
        SHOW((void)setns(-1, 0));
        SHOW((void)unshare(-1));
        SHOW((void)chroot("/there/is/no/such/folder"));
        SHOW((void)!setuid(getuid()));
        SHOW((void)!setresuid(-1, -1, -1));
        SHOW((void)!setregid(-1, -1));
        SHOW((void)kill(getpid(), 0));
        SHOW((void)!close(-1));
        SHOW((void)close_range(5000, 5001, 0));
        pthread_t thread;
        SHOW((void)pthread_create(&thread, nullptr, nothing, nullptr));
        SHOW((void)pthread_join(thread, nullptr));
        pid_t pid;
        fflush(stdout);
        SHOW(pid = fork(); if (pid == 0) _exit(errno == 4711 ? 0 : 1));
        int status = 0;
        SHOW((void)waitpid(pid, &status, 0));
        printf("child: %d\n", status);
        char *argv[] = {nullptr};
        SHOW((void)execv("/there/is/no/such/program", argv));
    }
    return 0;
}
