/* Trap 11: signal handlers that allocate, and that leave by siglongjmp.
 * A timer interrupts the program all the time, inside the hook too; the handler allocates and frees, or jumps out of
 * whatever it interrupted. A hook that holds its guard or a lock at that moment is never returned to: the guard must heal,
 * no lock may stay taken. Run with bump_allocator.so behind, since glibc's own malloc does not survive this.
 * usage: signal_storm return|jump ROUNDS; kept afterwards: keep_after 100 x 80. */
#include <setjmp.h>
#include <signal.h>
#include <sys/time.h>
#include "keep.h"
KEEPER(keep_after)
NOIPA static void *in_handler(size_t n) { void *p = malloc(n); CHECK(p); memset(p, 3, n); return p; }
static sigjmp_buf out;
static volatile sig_atomic_t armed, hits, jumping;
static void *volatile shared[64];
static void handler(int signal) {
    (void)signal;
    hits++;
    for (int i = 0; i < 4; i++) {
        int slot = (hits + i) & 63;
        void *old = shared[slot];
        shared[slot] = NULL;
        free(old);
        shared[slot] = in_handler(16 + slot);
        shared[slot] = realloc(shared[slot], 200 + slot);
    }
    if (jumping && armed) {
        armed = 0;
        siglongjmp(out, 1);
    }
}
NOIPA static void work(void) {
    void *volatile blocks[16];
    for (int i = 0; i < 16; i++) blocks[i] = malloc(10 + 30 * i);
    for (int i = 0; i < 16; i++) blocks[i] = realloc(blocks[i], 500);
    for (int i = 0; i < 16; i++) free(blocks[i]);
}
int main(int argc, char **argv) {
    CHECK(argc == 3);
    jumping = !strcmp(argv[1], "jump");
    int rounds = atoi(argv[2]);
    struct sigaction action = {.sa_handler = handler};
    CHECK(sigaction(SIGALRM, &action, NULL) == 0);
    struct itimerval every = {{0, 150}, {0, 150}};
    CHECK(setitimer(ITIMER_REAL, &every, NULL) == 0);
    while (hits < rounds) {
        if (sigsetjmp(out, 1) == 0) {
            armed = 1;
            for (int i = 0; i < 200 && hits < rounds; i++) work();
        }
        armed = 0;
    }
    struct itimerval off = {{0, 0}, {0, 0}};
    CHECK(setitimer(ITIMER_REAL, &off, NULL) == 0);
    for (int i = 0; i < 64; i++) free(shared[i]), shared[i] = NULL;
    for (int i = 0; i < 100; i++) keep_after(80);
    puts("ok");
    return 0;
}
