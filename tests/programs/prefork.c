/* Recordings of a prefork server whose workers are recycled: there must never be more of them on the disk than the family may
 * have (option family-disk).
 * The sixth, whose recording is among the first that could go, loses lost_in_worker 50 x 64: that is to be told at the end.
 * usage: prefork WORKERS AT_ONCE; each keeps keep_worker 3 x 100 and lives for 60 ms; the master keeps keep_master 2 x 200. */
#include <sys/wait.h>
#include "keep.h"
KEEPER(keep_master)
KEEPER(keep_worker)
NOIPA static void lost_in_worker(void) {
    void *volatile block = malloc(64);
    CHECK(block);
    block = NULL;
}
int main(int argc, char **argv) {
    CHECK(argc == 3);
    int workers = atoi(argv[1]), at_once = atoi(argv[2]), running = 0;
    for (int i = 0; i < 2; i++) keep_master(200);
    for (int i = 0; i < workers; i++) {
        if (running == at_once) {
            int status;
            CHECK(wait(&status) > 0 && WIFEXITED(status) && WEXITSTATUS(status) == 0);
            running--;
        }
        pid_t pid = fork();
        CHECK(pid >= 0);
        if (pid == 0) {
            for (int k = 0; k < 3; k++) keep_worker(100);
            for (int k = 0; i == 5 && k < 50; k++) lost_in_worker();
            usleep(60000);
            exit(0);
        }
        running++;
    }
    while (running-- > 0) CHECK(wait(NULL) > 0);
    dprintf(1, "ok\n");
    return 0;
}
