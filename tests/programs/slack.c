/* A program that asks how much of its blocks it may use, and uses it: 60 blocks of hold_in_slack, whose pointers lie behind the 20
 * bytes that were asked for; 60 of hold_behind (21 bytes), to which there are only pointers behind these; 60 of lose_plain. With "asks
 * not" nothing of that is asked, nor done: hold_in_slack and hold_behind are held plainly. Says "at 1" and waits for the file "1".
 * build: -O0 */
#include "keep.h"
#include <malloc.h>
#define COUNT 60
static char *holders[COUNT];
static char *behind[COUNT];
static void *plainly[COUNT];
#define MAKER(name, size)                        \
    NOIPA static char *name(void) {              \
        char *block = malloc(size);              \
        CHECK(block != NULL);                    \
        memset(block, 0x5a, size);               \
        return block;                            \
    }
MAKER(hold_in_slack, 200) MAKER(hold_behind, 21) MAKER(lose_plain, 200)

NOIPA static void scrub(void) {
    volatile char junk[32768];
    memset((void *)junk, 0, sizeof junk);
}

NOIPA static void work(int asks) {
    for (int i = 0; i < COUNT; i++) {
        holders[i] = malloc(20);
        CHECK(holders[i] != NULL && (!asks || malloc_usable_size(holders[i]) >= 24));
        char *held = hold_in_slack();
        if (asks) memcpy(holders[i] + 16, &held, sizeof held);
        else plainly[i] = held;
        behind[i] = hold_behind() + (asks ? 22 : 0);
        CHECK(lose_plain() != NULL);
    }
}

int main(int argc, char **argv) {
    work(argc < 2 || strcmp(argv[1], "asks not") != 0);
    scrub();
    dprintf(1, "at 1\n");
    wait_for_step("1");
    return 0;
}
