/* Lost blocks: the simplest leak there is.
 *
 * build:  cc -g -O1 -o leak leak.c
 * run:    leaktrack run -- ./leak
 *
 * What leaktrack must report:
 *   forget_message   100,000 bytes live in 1,000 blocks: lost when a scan ran, else unclear,
 *                    since the run is too short for a trend
 *   keep_settings      4,096 bytes live in 1 block, still reachable: no finding
 *   answer_and_free  1,000 allocations, 1,000 frees, nothing live
 */
#include <stdlib.h>
#include <string.h>

static char *settings;

__attribute__((noinline)) static void keep_settings(void)
{
    settings = malloc(4096);
    memset(settings, 1, 4096);
}

__attribute__((noinline)) static void forget_message(int i)
{
    char *volatile message = malloc(100);
    memset(message, i, 100);
}

__attribute__((noinline)) static void answer_and_free(int i)
{
    char *volatile answer = malloc(256);
    memset(answer, i, 256);
    free(answer);
}

int main(void)
{
    keep_settings();
    for (int i = 0; i < 1000; i++) {
        forget_message(i);
        answer_and_free(i);
    }
    return settings[0] - 1;
}
