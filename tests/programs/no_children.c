/* Goes on as an ordinary user who may have no more processes. Says "at 1" and waits for the file 1.
 * build: -O1 */
#include "keep.h"
#include <dirent.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
KEEPER(keep)
/* Returns when there is a thread of that name, which a change of credentials had ended; at the latest after a minute. */
static void await_helper(void) {
    for (int i = 0; i < 6000; i++, usleep(10000)) {
        DIR *tasks = opendir("/proc/self/task");
        int found = 0;
        for (struct dirent *entry; tasks && (entry = readdir(tasks));) {
            char path[300], name[32] = "";
            snprintf(path, sizeof path, "/proc/self/task/%s/comm", entry->d_name);
            int fd = open(path, O_RDONLY);
            ssize_t bytes = fd < 0 ? 0 : read(fd, name, sizeof name);
            found |= bytes == 10 && !memcmp(name, "leaktrack\n", 10);
            if (fd >= 0) close(fd);
        }
        if (tasks) closedir(tasks);
        if (found) return;
    }
}
int main(void) {
    struct stat found;
    struct rlimit none = {0, 0};
    for (int i = 0; i < 100; i++) keep(64 + i);
    CHECK(getuid() != 0 || setuid(65534) == 0);
    await_helper(); /* leaktrack's helper has started again */
    CHECK(setrlimit(RLIMIT_NPROC, &none) == 0);
    dprintf(1, "at 1\n");
    while (stat("1", &found) != 0) usleep(1000);
    return 0;
}
