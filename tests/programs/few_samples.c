/* Sites that hold little beside much that comes and goes: under a budget the mean is soon too coarse for them.
 * Keeps 20 blocks of 10000 bytes in keep_a, 5 of 50000 in keep_b, 200 of 1000 in keep_c, 3000 of 64 in keep_d and one of
 * 200000 in keep_e: 1042000 bytes in 3226 blocks. */
#include "keep.h"
KEEPER(keep_a)
KEEPER(keep_b)
KEEPER(keep_c)
KEEPER(keep_d)
KEEPER(keep_e)
NOIPA static void churn(int times) {
    for (int i = 0; i < times; i++) {
        void *volatile block = malloc(64 + i % 300);
        free(block);
    }
}
int main(void) {
    for (int round = 0; round < 200; round++) {
        churn(20000);
        if (round % 10 == 5) keep_a(10000);
        if (round % 40 == 7) keep_b(50000);
        keep_c(1000);
        for (int i = 0; i < 15; i++) keep_d(64);
        if (round == 100) keep_e(200000);
    }
    return 0;
}
