/* A prefork server: what the parent allocated before the fork belongs to the parent.
 *
 * build:  cc -g -O1 -o fork_workers fork_workers.c
 * run:    leaktrack run -- ./fork_workers [SECONDS]        (10)
 *
 * What leaktrack must report, from the family's four recordings:
 *   load_table      1,048,576 bytes in 256 blocks, in the parent only; worker 1 frees 16 of its
 *                   inherited copies, which changes nothing in the parent
 *   serve_and_keep  worker n (1 to 3) keeps n blocks of 1,000 bytes every 10 ms: growing. For 10 s:
 *                   1,000,000, 2,000,000 and 3,000,000 bytes
 */
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { WORKERS = 3, ROWS = 256 };

static void *table[ROWS];

struct kept {
    struct kept *next;
    char text[1000 - sizeof(struct kept *)];
};

static struct kept *kept;

__attribute__((noinline)) static void load_table(void)
{
    for (int i = 0; i < ROWS; i++)
        table[i] = memset(malloc(4096), i, 4096);
}

__attribute__((noinline)) static void serve_and_keep(void)
{
    struct kept *one = malloc(sizeof *one);
    memset(one->text, 1, sizeof one->text);
    one->next = kept;
    kept = one;
}

static void work(int number, int seconds)
{
    struct timespec pause = {0, 10 * 1000 * 1000};
    if (number == 1)
        for (int i = 0; i < 16; i++) {
            free(table[i]);
            table[i] = NULL;
        }
    for (int i = 0; i < seconds * 100; i++) {
        for (int j = 0; j < number; j++)
            serve_and_keep();
        nanosleep(&pause, NULL);
    }
}

int main(int argc, char **argv)
{
    int seconds = argc > 1 ? atoi(argv[1]) : 10, failed = 0, status;
    load_table();
    for (int number = 1; number <= WORKERS; number++) {
        pid_t pid = fork();
        if (pid < 0)
            return 1;
        if (pid == 0) {
            work(number, seconds);
            return 0;
        }
    }
    while (wait(&status) > 0)
        failed |= status != 0;
    return failed;
}
