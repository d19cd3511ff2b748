/* Two levels of inlining above an address that the test asks for. */
#include <stdlib.h>

void *keep[8];

static inline __attribute__((always_inline)) void *innermost(size_t size)
{
    return malloc(size); /* line of the innermost frame */
}

static inline __attribute__((always_inline)) void *middle(size_t size)
{
    void *block = innermost(size + 1);
    keep[0] = block;
    return block;
}

__attribute__((noinline)) void *outermost(size_t size)
{
    void *block = middle(size * 2);
    keep[1] = block;
    return block;
}

int main(void)
{
    return outermost(3) == 0;
}
