/* 60 blocks of hold_in_file, to which only a shared mapping of a file points, and 60 of lose_plain. Says "at 1" and waits for the file "1".
 * usage: same_inode FOLDER [OTHER]: the file is made in FOLDER, with the number that the file OTHER has in its own file system.
 * build: -O0 */
#include "held.h"
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
MAKER(hold_in_file) MAKER(lose_plain)
static void **shared;
NOIPA static void work(void) {
    for (int i = 0; i < COUNT; i++) {
        shared[i] = hold_in_file();
        lose_plain();
    }
}
int main(int argc, char **argv) {
    CHECK(argc > 1);
    struct stat file = {0}, other = {0};
    CHECK(argc < 3 || stat(argv[2], &other) == 0);
    int fd = -1;
    for (int i = 0; i == 0 || file.st_ino < other.st_ino; i++) {
        char path[512];
        snprintf(path, sizeof path, "%s/%d", argv[1], i);
        CHECK((fd = open(path, O_RDWR | O_CREAT, 0600)) >= 0 && fstat(fd, &file) == 0);
    }
    CHECK(argc < 3 || (file.st_ino == other.st_ino && file.st_dev != other.st_dev));
    CHECK(ftruncate(fd, 4096) == 0);
    shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    CHECK(shared != MAP_FAILED);
    work();
    scrub();
    dprintf(1, "at 1\n");
    wait_for_step("1");
    for (int i = 0; i < COUNT; i++) CHECK(*(char *)shared[i] == 0x5a);
    return 0;
}
