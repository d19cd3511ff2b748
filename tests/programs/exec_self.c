/* Trap 30: exec keeps the pid and inherits the preload.
 * The program execs itself STEPS times; each image keeps keep_image 10 x 100 more blocks of its own. Every image is a
 * recording of its own, none overwrites another; those before the last ended by exec.
 * usage: exec_self STEPS; prints LD_PRELOAD's number of entries beside leaktrack's own. */
#include "keep.h"
KEEPER(keep_image)
CHURNER(churn)
int main(int argc, char **argv) {
    int steps = argc > 1 ? atoi(argv[1]) : 0;
    for (int i = 0; i < 10; i++) keep_image(100), churn();
    if (steps > 0) {
        char next[20];
        snprintf(next, sizeof next, "%d", steps - 1);
        char *again[] = {argv[0], next, NULL};
        execv("/there/is/no/such/program", again); /* a failed exec changes nothing */
        keep_image(100);
        execv("/proc/self/exe", again);
        _exit(98);
    }
    puts("ok");
    return 0;
}
