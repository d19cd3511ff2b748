/* What programs that a scan looks at have in common: makers of blocks, under whose names the test knows which are held and which are
 * lost, and a wipe of what they leave on the stack. */
#ifndef HELD_H
#define HELD_H
#include "keep.h"

/* Blocks of each kind. */
#define COUNT 60

/* Defines void *NAME(void): a block of 200 bytes of 0x5a. */
#define MAKER(name)                              \
    NOIPA static void *name(void) {              \
        char *block = malloc(200);               \
        CHECK(block != NULL);                    \
        memset(block, 0x5a, 200);                \
        return block;                            \
    }

/* Overwrites what calls before left below this one's frame. */
NOIPA static void scrub(void) {
    volatile char junk[32768];
    memset((void *)junk, 0, sizeof junk);
}
#endif
