/* Holds 60 blocks of each function that begins with hold_ in huge pages: of a file of hugetlbfs, shared and private, and of no file; 60
 * of lose_unmapped were held by one that is gone. With "hugetlbfs" that file system is mounted at /dev/hugepages, as on most machines,
 * in a namespace of the program's own, for which it must be root; with "memory" all of it is in memory of the usual kind. Says "at 1"
 * and waits for the file "1".
 * build: -O0 */
#define _GNU_SOURCE
#include "held.h"
#include <fcntl.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#define BYTES (2ul << 20)
MAKER(hold_shared) MAKER(hold_private) MAKER(hold_without_file) MAKER(lose_unmapped)

static int open_file(int huge) {
    if (!huge) return memfd_create("roots", 0);
    CHECK(unshare(CLONE_NEWNS) == 0 && mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0);
    CHECK(mount("none", "/dev", "tmpfs", 0, NULL) == 0 && mkdir("/dev/hugepages", 0700) == 0);
    CHECK(mount("none", "/dev/hugepages", "hugetlbfs", 0, NULL) == 0);
    return open("/dev/hugepages/roots", O_RDWR | O_CREAT, 0600);
}

static void **fill(int flags, int fd, void *(*maker)(void)) {
    void **start = mmap(NULL, BYTES, PROT_READ | PROT_WRITE, flags, fd, 0);
    CHECK(start != MAP_FAILED);
    for (int i = 0; i < COUNT; i++) start[100000 + i] = maker();
    return start;
}


NOIPA static void work(int huge) {
    int fd = open_file(huge), of_none = MAP_PRIVATE | MAP_ANONYMOUS | (huge ? MAP_HUGETLB : 0);
    CHECK(fd >= 0 && ftruncate(fd, BYTES) == 0);
    CHECK(munmap(fill(of_none, -1, lose_unmapped), BYTES) == 0);
    fill(MAP_SHARED, fd, hold_shared);
    fill(MAP_PRIVATE, fd, hold_private);
    fill(of_none, -1, hold_without_file);
}

int main(int argc, char **argv) {
    CHECK(argc > 1);
    work(strcmp(argv[1], "hugetlbfs") == 0);
    scrub();
    dprintf(1, "at 1\n");
    wait_for_step("1");
    return 0;
}
