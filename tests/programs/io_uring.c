/* Trap 41: threads that the kernel makes.
 * An io_uring with a polling thread shows an `iou-sqp` entry in /proc/self/task that is no thread of the program. Where the
 * kernel has no io_uring, or refuses it, only the allocations are tested. Kept: keep_main 4 x 64. */
#include <linux/io_uring.h>
#include <sys/syscall.h>
#include "keep.h"
KEEPER(keep_main)
CHURNER(churn)
int main(void) {
    struct io_uring_params params = {.flags = IORING_SETUP_SQPOLL, .sq_thread_idle = 50};
    int ring = (int)syscall(SYS_io_uring_setup, 8, &params);
    for (int i = 0; i < 30; i++) churn(), usleep(10000);
    for (int i = 0; i < 4; i++) keep_main(64);
    if (ring >= 0) close(ring);
    puts("ok");
    return 0;
}
