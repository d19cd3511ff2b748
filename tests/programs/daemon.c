/* Trap 9, 33: daemon() and the closing of every descriptor.
 * The process that was started ends at once; the server is its grandchild, with all descriptors closed and their numbers
 * used again. A library that kept a descriptor would write its snapshots into the daemon's own files.
 * usage: daemon close_range|closefrom|loop MILLISECONDS FILE; kept: keep_daemon 6 x 600.
 * FILE gets a line with what it found: its own files hold what it wrote, and no descriptor appeared. */
#define _GNU_SOURCE
#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include "keep.h"
KEEPER(keep_daemon)
CHURNER(churn)
#define FILES 40
static int count_descriptors(void) {
    int count = 0;
    DIR *folder = opendir("/proc/self/fd");
    CHECK(folder);
    while (readdir(folder)) count++;
    closedir(folder);
    return count;
}
int main(int argc, char **argv) {
    CHECK(argc == 4);
    char result[4096], path[8192];
    CHECK(realpath(".", result));
    CHECK(strlen(result) + strlen(argv[3]) + 2 < sizeof result);
    strcat(strcat(result, "/"), argv[3]);
    puts("starting");
    fflush(stdout);
    CHECK(daemon(1, 0) == 0);
    if (!strcmp(argv[1], "close_range")) CHECK(close_range(3, ~0U, 0) == 0);
    else if (!strcmp(argv[1], "closefrom")) closefrom(3);
    else for (int fd = 3; fd < 20000; fd++) close(fd);
    int fds[FILES];
    for (int i = 0; i < FILES; i++) {
        snprintf(path, sizeof path, "%s.%d", result, i);
        CHECK((fds[i] = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600)) == i + 3);
        CHECK(write(fds[i], "mine", 4) == 4);
    }
    int before = count_descriptors();
    for (int i = 0; i < 6; i++) keep_daemon(600);
    for (int waited = 0; waited < atoi(argv[2]); waited += 20) churn(), usleep(20000);
    int same = count_descriptors() == before, intact = 1;
    for (int i = 0; i < FILES; i++) {
        struct stat stat;
        char text[5] = "";
        CHECK(fstat(fds[i], &stat) == 0);
        intact &= stat.st_size == 4 && pread(fds[i], text, 4, 0) == 4 && !strcmp(text, "mine");
        snprintf(path, sizeof path, "%s.%d", result, i);
        unlink(path);
    }
    snprintf(path, sizeof path, "%s.part", result);
    FILE *out = fopen(path, "w");
    CHECK(out);
    fprintf(out, "descriptors unchanged: %d, files intact: %d\n", same, intact);
    CHECK(fclose(out) == 0 && rename(path, result) == 0);
    return 0;
}
