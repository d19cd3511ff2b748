/* launch FILE PROGRAM ARGUMENTS: runs the program and writes what it used to FILE: user and system time in
 * microseconds, peak resident set in KiB, how it ended. The peak of a process counts from its parent's memory at
 * the fork: this one is small, unlike that of a script. */
#include <stdio.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    struct rusage used;
    int status;
    pid_t pid = fork();
    if (pid == 0) {
        execvp(argv[2], argv + 2);
        _exit(127);
    }
    if (argc < 3 || pid < 0 || wait4(pid, &status, 0, &used) != pid)
        return 1;
    FILE *file = fopen(argv[1], "w");
    if (!file)
        return 1;
    fprintf(file, "%ld %ld %d\n", (used.ru_utime.tv_sec + used.ru_stime.tv_sec) * 1000000L + used.ru_utime.tv_usec + used.ru_stime.tv_usec,
            used.ru_maxrss, status);
    return fclose(file) != 0;
}
