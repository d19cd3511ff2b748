/* Forbids itself to read the processor's clock: whoever does is killed by SIGSEGV. Kept: keep_it 50000 x 100. */
#include <sys/prctl.h>
#include "keep.h"
KEEPER(keep_it)
CHURNER(churn)
int main(void) {
    for (int i = 0; i < 25000; i++) keep_it(100);
    CHECK(prctl(PR_SET_TSC, PR_TSC_SIGSEGV, 0, 0, 0) == 0);
    for (int i = 0; i < 25000; i++) keep_it(100), churn();
    dprintf(1, "done\n");
    return 0;
}
