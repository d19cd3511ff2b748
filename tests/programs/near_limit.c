/* Takes 90% of a limit of its own on address space that is far above what it uses else, keeps it for
 * a while and gives it back. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

int main(void)
{
    /* leaktrack reads the limit every ten seconds, the first time at its first snapshot. */
    struct rlimit limit = {4ul << 30, 4ul << 30};
    if (setrlimit(RLIMIT_AS, &limit))
        return 1;
    struct timespec pause = {2, 500 * 1000 * 1000};
    nanosleep(&pause, NULL);
    size_t bytes = (4ul << 30) / 100 * 90;
    char *block = malloc(bytes);
    if (!block)
        return 2;
    block[0] = 1;
    nanosleep(&pause, NULL);
    free(block);
    puts("done");
    return 0;
}
