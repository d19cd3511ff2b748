/* Holds 60 blocks of hold_in_break in memory that it got by sbrk, and loses 60 of lose_plain; with the argument "child" a child does so
 * that it forks after that. Says "at 1" and waits for the file "1".
 * build: -O0 */
#define _DEFAULT_SOURCE
#include "held.h"
#include <sys/wait.h>
MAKER(hold_in_break) MAKER(lose_plain)
static void **in_break;
NOIPA static void work(void) {
    for (int i = 0; i < COUNT; i++) {
        in_break[i] = hold_in_break();
        lose_plain();
    }
}
int main(int argc, char **argv) {
    (void)argv;
    char *got = sbrk(8192);
    CHECK(got != (char *)-1);
    in_break = (void **)(((unsigned long)got + 4095) & ~15ul);
    pid_t child = argc > 1 ? fork() : 0;
    CHECK(child >= 0);
    int status = 0;
    if (child == 0) {
        work();
        scrub();
        dprintf(1, "at 1\n");
        wait_for_step("1");
        for (int i = 0; i < COUNT; i++) CHECK(*(char *)in_break[i] == 0x5a);
    } else {
        CHECK(waitpid(child, &status, 0) == child);
    }
    return status != 0;
}
