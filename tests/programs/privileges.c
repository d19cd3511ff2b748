/* Trap 12, 13, 31, 32: a server gives up its privileges while threads run.
 * glibc's setuid family signals every thread it knows and waits for them; a helper that it knows and that blocks those
 * signals makes setuid() hang, one that it does not know keeps the old credentials. After the change, /proc/self files
 * belong to root, and the recording's path cannot be opened any more.
 * usage: privileges setuid|setresuid|seteuid|chroot MILLISECONDS; must be root.
 * Kept: keep_before 5 x 100, keep_after 6 x 200. Prints the credentials of all threads that have others than the first.
 * build: -pthread */
#define _GNU_SOURCE
#include <dirent.h>
#include <fcntl.h>
#include <grp.h>
#include <pthread.h>
#include <sys/prctl.h>
#include "keep.h"
KEEPER(keep_before)
KEEPER(keep_after)
CHURNER(churn)
static volatile int stop;
static void *worker(void *unused) {
    while (!stop) churn(), usleep(500);
    return unused;
}
static void linger(int milliseconds) {
    for (int waited = 0; waited < milliseconds; waited += 10) churn(), usleep(10000);
}
/* Number of threads whose Uid or Gid line is not `want`. */
static int others(DIR *tasks, unsigned want) {
    int count = 0;
    struct dirent *entry;
    rewinddir(tasks);
    while ((entry = readdir(tasks))) {
        char path[300], line[300];
        if (entry->d_name[0] == '.') continue;
        snprintf(path, sizeof path, "%s/status", entry->d_name);
        int fd = openat(dirfd(tasks), path, 0);
        FILE *status = fd < 0 ? NULL : fdopen(fd, "r");
        if (!status) continue;
        while (fgets(line, sizeof line, status)) {
            unsigned real, effective;
            if (sscanf(line, "Uid: %u %u", &real, &effective) == 2 && effective != want) count++;
        }
        fclose(status);
    }
    return count;
}
int main(int argc, char **argv) {
    CHECK(argc == 3);
    const char *how = argv[1];
    int milliseconds = atoi(argv[2]);
    pthread_t threads[3];
    for (int i = 0; i < 3; i++) CHECK(!pthread_create(&threads[i], NULL, worker, NULL));
    for (int i = 0; i < 5; i++) keep_before(100);
    linger(milliseconds);
    DIR *tasks = opendir("/proc/self/task");
    CHECK(tasks);
    if (!strcmp(how, "chroot")) {
        CHECK(chroot(".") == 0 && chdir("/") == 0);
        printf("others: %d\n", others(tasks, 0));
    } else {
        gid_t group = 65534;
        CHECK(setgroups(1, &group) == 0);
        if (!strcmp(how, "setuid")) CHECK(setgid(65534) == 0 && setuid(65534) == 0);
        else if (!strcmp(how, "setresuid")) CHECK(setresgid(65534, 65534, 65534) == 0 && setresuid(65534, 65534, 65534) == 0);
        else CHECK(setegid(65534) == 0 && seteuid(65534) == 0);
        printf("dumpable: %d\n", prctl(PR_GET_DUMPABLE));
        linger(milliseconds);
        printf("uid %u, others: %d\n", (unsigned)geteuid(), others(tasks, 65534));
        if (!strcmp(how, "seteuid")) {
            CHECK(seteuid(0) == 0 && setegid(0) == 0);
            linger(milliseconds);
            printf("uid %u, others: %d\n", (unsigned)geteuid(), others(tasks, 0));
        }
    }
    closedir(tasks);
    for (int i = 0; i < 6; i++) keep_after(200);
    linger(milliseconds);
    stop = 1;
    for (int i = 0; i < 3; i++) pthread_join(threads[i], NULL);
    puts("ok");
    return 0;
}
