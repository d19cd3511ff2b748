/* Trap 12: signals that are meant for the program.
 * All of its threads block SIGUSR1, SIGUSR2, SIGTERM and SIGCHLD; one waits for them with sigwait. A signal sent to the
 * process goes to any thread that does not block it: a helper that does not block it dies, and the process with it. The
 * default of SIGURG and SIGWINCH is to be ignored, so those are waited for, too.
 * Kept: keep_main 2 x 50.
 * build: -pthread */
#include <pthread.h>
#include <signal.h>
#include "keep.h"
KEEPER(keep_main)
CHURNER(churn)
static sigset_t set;
static int counts[65];
static void *waiter(void *unused) {
    for (int i = 0; i < 2000; i++) {
        int got;
        CHECK(sigwait(&set, &got) == 0);
        counts[got]++;
        CHECK(write(*(int *)unused, "x", 1) == 1);
    }
    return NULL;
}
int main(void) {
    const int signals[] = {SIGUSR1, SIGUSR2, SIGTERM, SIGCHLD, SIGURG};
    sigemptyset(&set);
    for (int i = 0; i < 5; i++) sigaddset(&set, signals[i]);
    CHECK(pthread_sigmask(SIG_BLOCK, &set, NULL) == 0);
    int ends[2];
    CHECK(pipe(ends) == 0);
    pthread_t thread;
    CHECK(!pthread_create(&thread, NULL, waiter, &ends[1]));
    for (int i = 0; i < 2000; i++) {
        char byte;
        churn();
        CHECK(kill(getpid(), signals[i % 5]) == 0);
        CHECK(read(ends[0], &byte, 1) == 1); /* nothing is lost: the next is sent when the last has been taken */
    }
    pthread_join(thread, NULL);
    for (int i = 0; i < 5; i++) printf("%d: %d\n", signals[i], counts[signals[i]]);
    keep_main(50);
    keep_main(50);
    return 0;
}
