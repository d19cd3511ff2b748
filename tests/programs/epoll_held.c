/* A server's connections: 60 blocks of hold_connection, to which only the kernel has pointers (epoll_event.data), half of them with
 * a tag in the lowest bit; and 60 of lose_connection, whose descriptors were closed. Says "at 1" and waits for the file "1".
 * build: -O0 */
#include "held.h"
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
MAKER(hold_connection) MAKER(lose_connection)


NOIPA static int watch(int epoll, void *block, int tag) {
    int fd = eventfd(0, 0);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = (void *)((uintptr_t)block | tag)};
    CHECK(fd >= 0 && epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) == 0);
    return fd;
}

NOIPA static void work(int epoll) {
    for (int i = 0; i < COUNT; i++) {
        watch(epoll, hold_connection(), i & 1);
        close(watch(epoll, lose_connection(), 0));
    }
}

int main(void) {
    struct stat found;
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    CHECK(epoll >= 0);
    work(epoll);
    scrub();
    dprintf(1, "at 1\n");
    while (stat("1", &found) != 0) usleep(1000);
    return 0;
}
