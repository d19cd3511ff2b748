/* The smallest program with a known answer, for runs in unusual surroundings.
 * usage: keep_some [BLOCKS [BYTES [SECONDS]]]: keeps BLOCKS (10) of BYTES (1000) in keep_some, churns, waits, says ok. */
#include "keep.h"
KEEPER(keep_some)
CHURNER(churn)
int main(int argc, char **argv) {
    int blocks = argc > 1 ? atoi(argv[1]) : 10;
    size_t bytes = argc > 2 ? strtoul(argv[2], NULL, 0) : 1000;
    for (int i = 0; i < blocks; i++) keep_some(bytes);
    for (int i = 0; i < 20; i++) churn();
    fprintf(stdout, "ok\n");
    fflush(stdout);
    if (argc > 3) sleep(atoi(argv[3]));
    return 0;
}
