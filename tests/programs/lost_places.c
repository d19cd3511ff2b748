/* One line loses 3,000 bytes through each of three callers, another one 4,000 at once. */
#include "keep.h"

static void *volatile last;

NOIPA static void lose_here(void)
{
    for (int i = 0; i < 30; i++)
        last = malloc(100);
}

NOIPA static void first(void)
{
    lose_here();
    last = NULL;
}

NOIPA static void second(void)
{
    lose_here();
    last = NULL;
}

NOIPA static void third(void)
{
    lose_here();
    last = NULL;
}

NOIPA static void lose_there(void)
{
    last = malloc(4000);
    last = NULL;
}

/* Nothing of what the callers left on the stack is to stand there at the end. */
NOIPA static void wipe(void)
{
    volatile char room[4096];
    for (unsigned i = 0; i < sizeof room; i++)
        room[i] = 0;
}

int main(void)
{
    first();
    second();
    third();
    lose_there();
    wipe();
    return 0;
}
