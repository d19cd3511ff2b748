/* Takes 90% of a limit of its own on address space that is far above what it uses else, keeps it for
 * a while and gives it back: takes it once there is a file 1, gives it back once there is a file 2. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

static void wait_for(const char *file)
{
    while (access(file, F_OK) != 0)
        usleep(10 * 1000);
}

int main(void)
{
    struct rlimit limit = {4ul << 30, 4ul << 30};
    if (setrlimit(RLIMIT_AS, &limit))
        return 1;
    wait_for("1");
    size_t bytes = (4ul << 30) / 100 * 90;
    char *block = malloc(bytes);
    if (!block)
        return 2;
    block[0] = 1;
    wait_for("2");
    free(block);
    puts("done");
    return 0;
}
