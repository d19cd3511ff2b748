/* A peak that is gone at the end: 12000 blocks of 900 bytes in come_and_go are there while ten snapshots are taken, then freed. */
#include "keep.h"
#include <unistd.h>

static void *blocks[12000];

NOIPA static void *come_and_go(void)
{
    void *block = malloc(900);
    CHECK(block);
    return block;
}

int main(void)
{
    for (int i = 0; i < 12000; i++)
        blocks[i] = come_and_go();
    sleep(2);
    for (int i = 0; i < 12000; i++)
        free(blocks[i]);
    return 0;
}
