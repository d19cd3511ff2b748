/* Every way in which one or two blocks can hang on a root and on each other, as the manual of memcheck lists them, and a few more:
 * five times each. What a function keeps or loses is said in tests/truth/shapes.rs.
 * build: -O0 */
#include "keep.h"
#include <stdint.h>
#define TURNS 5
#define SIZE 120
#define MAKER(name)                              \
    NOIPA static void **name(void) {             \
        void **block = calloc(1, SIZE);          \
        CHECK(block != NULL);                    \
        return block;                            \
    }
MAKER(held) MAKER(held_by_block) MAKER(holder) MAKER(lost) MAKER(lost_parent) MAKER(lost_child) MAKER(inside) MAKER(holder_inside)
MAKER(inside_of_held) MAKER(possible_parent) MAKER(possible_child) MAKER(possible_twice) MAKER(parent_inside) MAKER(lost_inside)
MAKER(two_parents) MAKER(shared_child) MAKER(ring) MAKER(ring_tail) MAKER(lost_holding_held) MAKER(held_by_both) MAKER(itself)
MAKER(deep)
static void *root[16 * TURNS];
static int used;

NOIPA static void scrub(void) {
    volatile char junk[32768];
    memset((void *)junk, 0, sizeof junk);
}
static void *into(void **block) { return (char *)block + 40; }

NOIPA static void turn(void) {
    void **a, **b, **c;
    root[used++] = held();
    root[used++] = a = holder(), a[1] = held_by_block();
    lost();
    a = lost_parent(), a[1] = lost_child();
    root[used++] = into(inside());
    root[used++] = a = holder_inside(), a[1] = into(inside_of_held());
    a = possible_parent(), a[1] = possible_child(), root[used++] = into(a);
    a = parent_inside(), a[1] = into(possible_twice()), root[used++] = into(a);
    a = lost_parent(), a[1] = into(lost_inside());
    a = two_parents(), b = two_parents(), a[1] = b[1] = shared_child();
    a = ring(), b = ring(), c = ring(), a[1] = b, b[1] = c, c[1] = a, c[2] = ring_tail();
    b = held_by_both(), a = lost_holding_held(), a[1] = b, root[used++] = b;
    a = itself(), a[1] = a;
    a = NULL;
    for (int i = 0; i < 300; i++) b = deep(), b[1] = a, a = b;
}

int main(void) {
    for (int i = 0; i < TURNS; i++) turn();
    scrub();
    return 0;
}
