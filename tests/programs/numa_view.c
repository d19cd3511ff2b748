/* Runs a program that sees several NUMA nodes: in a mount namespace of its own, made-up files lie over those of the kernel.
 *
 * build:
 * usage: numa_view FOLDER PROGRAM ARGS
 * It differs from the others in that it needs root. FOLDER/node is what /sys/devices/system/node shows, FOLDER/numa_maps what
 * the program's /proc/self/numa_maps does.
 */
#define _GNU_SOURCE
#include <sched.h>
#include <stdio.h>
#include <sys/mount.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    char from[4096], to[64];
    if (argc < 3 || unshare(CLONE_NEWNS) || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL))
        return 3;
    snprintf(from, sizeof from, "%s/node", argv[1]);
    if (mount(from, "/sys/devices/system/node", NULL, MS_BIND, NULL))
        return 4;
    snprintf(from, sizeof from, "%s/numa_maps", argv[1]);
    snprintf(to, sizeof to, "/proc/%d/numa_maps", (int)getpid());
    if (mount(from, to, NULL, MS_BIND, NULL))
        return 5;
    execv(argv[2], argv + 2);
    return 6;
}
