/* Writes down every page fault of a program, its children included: an independent recorder, with events of its own
 * for each processor, minor and major, and a sample for each fault.
 * usage: fault_truth OUT PRELOAD PROGRAM ARGS...; PRELOAD comes before what LD_PRELOAD has. OUT gets entries of 40 bytes:
 * time, address, instruction, pid, tid, processor, kind (0 a minor fault; 1 lost: so many in place of the address; 2 a major fault).
 */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/perf_event.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { CPUS = 256, RING = 8 << 20, PAGE = 4096 };

struct entry {
    uint64_t time, addr, ip;
    uint32_t pid, tid, cpu, kind;
};

static pid_t child;

static void pass_on(int signal)
{
    kill(child, signal);
}

static uint64_t word(const char *data, uint64_t at)
{
    return *(const uint64_t *)(data + (at & (RING - 1)));
}

static void drain(char *ring, int cpu, int is_major, FILE *out)
{
    struct perf_event_mmap_page *head = (void *)ring;
    const char *data = ring + PAGE;
    uint64_t to = __atomic_load_n(&head->data_head, __ATOMIC_ACQUIRE), at = head->data_tail;
    while (at < to) {
        uint64_t first = word(data, at);
        uint32_t kind = first, size = first >> 48;
        if (kind == PERF_RECORD_SAMPLE) {
            uint64_t ids = word(data, at + 16);
            struct entry entry = {word(data, at + 24), word(data, at + 32), word(data, at + 8), ids, ids >> 32, cpu, is_major ? 2 : 0};
            fwrite(&entry, sizeof entry, 1, out);
        } else if (kind == PERF_RECORD_LOST) {
            struct entry entry = {0, word(data, at + 16), 0, 0, 0, cpu, 1};
            fwrite(&entry, sizeof entry, 1, out);
        }
        at += size;
    }
    __atomic_store_n(&head->data_tail, at, __ATOMIC_RELEASE);
}

int main(int argc, char **argv)
{
    int go[2], rings = 0;
    struct {
        char *at;
        int cpu, is_major;
    } ring[2 * CPUS];
    if (argc < 4 || pipe2(go, 02000000) != 0)
        return 125;
    FILE *out = fopen(argv[1], "w");
    child = fork();
    if (child == 0) {
        char all[8192], byte;
        const char *others = getenv("LD_PRELOAD");
        snprintf(all, sizeof all, "%s:%s", argv[2], others ? others : "");
        close(go[1]);
        if (read(go[0], &byte, 1) != 1)
            _exit(125);
        setenv("LD_PRELOAD", all, 1);
        execvp(argv[3], argv + 3);
        _exit(127);
    }
    struct perf_event_attr attr = {
        .type = PERF_TYPE_SOFTWARE,
        .size = sizeof attr,
        .sample_period = 1,
        .sample_type = PERF_SAMPLE_IP | PERF_SAMPLE_TID | PERF_SAMPLE_TIME | PERF_SAMPLE_ADDR,
        .disabled = 1,
        .enable_on_exec = 1,
        .inherit = 1,
        .use_clockid = 1,
        .clockid = CLOCK_MONOTONIC,
    };
    for (int cpu = 0; cpu < CPUS && cpu < sysconf(_SC_NPROCESSORS_CONF); cpu++) {
        for (int is_major = 0; is_major < 2; is_major++) {
            attr.config = is_major ? PERF_COUNT_SW_PAGE_FAULTS_MAJ : PERF_COUNT_SW_PAGE_FAULTS_MIN;
            int fd = syscall(SYS_perf_event_open, &attr, child, cpu, -1, PERF_FLAG_FD_CLOEXEC);
            if (fd < 0)
                continue;
            void *at = mmap(NULL, RING + PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
            if (at == MAP_FAILED) {
                perror("mmap of a ring");
                kill(child, SIGKILL);
                return 125;
            }
            ring[rings].at = at;
            ring[rings].cpu = cpu;
            ring[rings++].is_major = is_major;
        }
    }
    if (!out || rings == 0) {
        kill(child, SIGKILL);
        return 125;
    }
    signal(SIGTERM, pass_on);
    signal(SIGINT, pass_on);
    signal(SIGQUIT, pass_on);
    if (write(go[1], "g", 1) != 1)
        return 125;
    int status = 0, is_over = 0;
    while (!is_over) {
        struct timespec pause = {0, 5 * 1000 * 1000};
        nanosleep(&pause, NULL);
        is_over = waitpid(child, &status, WNOHANG) == child;
        for (int at = 0; at < rings; at++)
            drain(ring[at].at, ring[at].cpu, ring[at].is_major, out);
    }
    fclose(out);
    return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}
