/* What watching page faults costs: the kernel's part, and leaktrack's as a whole.
 *
 * build:  gcc -O2 -pthread -o fault_cost benches/fault_cost.c
 * usage:  fault_cost events [ROUNDS]       nanoseconds for a fault, and microseconds to make and join a thread, under
 *                                          events of several kinds: the least of all rounds, taken in turn
 *         fault_cost rate PER_S SECONDS [LEFT_OUT]
 *                                          takes minor faults at that rate, the first LEFT_OUT seconds of which
 *                                          are not counted; CPU time of a fault in this thread (least,
 *                                          tenth, half of the samples of 2,000, mean) and of all other threads. Run it with
 *                                          and without LD_PRELOAD=libleaktrack.so, LEAKTRACK=faults=off too
 */
#define _GNU_SOURCE
#include <linux/perf_event.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { PAGE = 4096, PAGES = 20000, STEP = 2000, MOST_SAMPLES = 100000 };

static double cpu_s(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return now.tv_sec + now.tv_nsec * 1e-9;
}

static char *area_of(long pages)
{
    char *area = mmap(NULL, pages * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (area == MAP_FAILED)
        exit(1);
    madvise(area, pages * PAGE, MADV_NOHUGEPAGE);
    return area;
}

/* CPU time of a fault on each page, which are given back after it. */
static double touch_ns(char *area, long pages)
{
    double from = cpu_s(CLOCK_THREAD_CPUTIME_ID);
    for (long page = 0; page < pages; page++)
        area[page * PAGE] = 1;
    double took = cpu_s(CLOCK_THREAD_CPUTIME_ID) - from;
    madvise(area, pages * PAGE, MADV_DONTNEED);
    return took / pages * 1e9;
}

static int open_event(int kind, unsigned long period, int cpu)
{
    struct perf_event_attr attr = {.size = sizeof attr, .type = PERF_TYPE_SOFTWARE, .config = kind, .sample_period = period};
    if (period) {
        attr.sample_type = PERF_SAMPLE_IP | PERF_SAMPLE_TID | PERF_SAMPLE_TIME | PERF_SAMPLE_ADDR | PERF_SAMPLE_STACK_USER;
        attr.sample_stack_user = 8;
    }
    attr.inherit = attr.inherit_thread = attr.use_clockid = 1;
    attr.clockid = CLOCK_MONOTONIC;
    int fd = syscall(SYS_perf_event_open, &attr, 0, cpu, -1, PERF_FLAG_FD_CLOEXEC);
    if (fd < 0) {
        perror("perf_event_open");
        exit(1);
    }
    return fd;
}

static void *nothing(void *unused) { return unused; }

static double thread_us(void)
{
    double best = 1e9;
    for (int round = 0; round < 20; round++) {
        double from = cpu_s(CLOCK_MONOTONIC);
        for (int i = 0; i < 50; i++) {
            pthread_t thread;
            pthread_create(&thread, NULL, nothing, NULL);
            pthread_join(thread, NULL);
        }
        double took = (cpu_s(CLOCK_MONOTONIC) - from) / 50 * 1e6;
        best = took < best ? took : best;
    }
    return best;
}

static void events(int rounds)
{
    static const struct { const char *name; int count, off; unsigned long period, second; } ways[] = {
        {"none", 0, 0, 0, 0},
        {"a counter", 1, 0, 0, 0},
        {"one of 13 sampled", 0, 0, 13, 0},
        {"one of 13, and a counter", 1, 0, 13, 0},
        {"one of 61 sampled", 0, 0, 61, 0},
        {"one of 61, and one of 7", 0, 0, 61, 7},
        {"one of 1009 sampled", 0, 0, 1009, 0},
        {"one of 61, switched off", 0, 1, 61, 0},
    };
    enum { WAYS = sizeof ways / sizeof *ways };
    double fault[WAYS], thread[WAYS];
    long cpus = sysconf(_SC_NPROCESSORS_ONLN);
    char *area = area_of(PAGES);
    for (int way = 0; way < WAYS; way++)
        fault[way] = thread[way] = 1e9;
    for (int round = 0; round < rounds; round++)
        for (int way = 0; way < WAYS; way++) {
            int fds[1024], open = 0, rings = 0;
            struct perf_event_mmap_page *ring[1024];
            for (long cpu = 0; ways[way].period && cpu < cpus && open < 1000; cpu++)
                for (int event = 0; event < (ways[way].second ? 3 : 2); event++) {
                    int kind = event == 1 ? PERF_COUNT_SW_PAGE_FAULTS_MAJ : PERF_COUNT_SW_PAGE_FAULTS_MIN;
                    fds[open] = open_event(kind, event == 1 ? 1 : event ? ways[way].second : ways[way].period, cpu);
                    ring[rings] = mmap(NULL, 17 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fds[open++], 0);
                    if (ring[rings++] == MAP_FAILED)
                        exit(1);
                }
            if (ways[way].count)
                fds[open++] = open_event(PERF_COUNT_SW_PAGE_FAULTS, 0, -1);
            for (int i = 0; ways[way].off && i < open; i++)
                ioctl(fds[i], PERF_EVENT_IOC_DISABLE, 0);
            for (int i = 0; i < 8; i++) {
                double ns = touch_ns(area, PAGES);
                fault[way] = ns < fault[way] ? ns : fault[way];
                for (int at = 0; at < rings; at++)
                    ring[at]->data_tail = ring[at]->data_head;
            }
            double us = thread_us();
            thread[way] = us < thread[way] ? us : thread[way];
            for (int i = 0; i < rings; i++)
                munmap(ring[i], 17 * PAGE);
            for (int i = 0; i < open; i++)
                close(fds[i]);
        }
    for (int way = 0; way < WAYS; way++)
        printf("%-26s %7.1f ns a fault (%+.1f)  %5.1f us a thread (%+.1f)\n", ways[way].name, fault[way],
               fault[way] - fault[0], thread[way], thread[way] - thread[0]);
}

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void rate(long per_s, int seconds, int left_out_s)
{
    static double samples[MOST_SAMPLES];
    char *area = area_of(STEP);
    long steps = per_s * seconds / STEP;
    steps = steps < MOST_SAMPLES ? steps : MOST_SAMPLES;
    struct timespec next;
    clock_gettime(CLOCK_MONOTONIC, &next);
    double whole = cpu_s(CLOCK_PROCESS_CPUTIME_ID), mine = cpu_s(CLOCK_THREAD_CPUTIME_ID);
    double began = cpu_s(CLOCK_MONOTONIC);
    long left_out = per_s * left_out_s / STEP;
    for (long step = -left_out; step < steps; step++) {
        if (step == 0) {
            whole = cpu_s(CLOCK_PROCESS_CPUTIME_ID), mine = cpu_s(CLOCK_THREAD_CPUTIME_ID);
            began = cpu_s(CLOCK_MONOTONIC);
        }
        double took_ns = touch_ns(area, STEP);
        if (step >= 0)
            samples[step] = took_ns;
        long ns = next.tv_nsec + 1000000000l * STEP / per_s;
        next.tv_sec += ns / 1000000000;
        next.tv_nsec = ns % 1000000000;
        clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &next, NULL);
    }
    double took = cpu_s(CLOCK_MONOTONIC) - began;
    whole = cpu_s(CLOCK_PROCESS_CPUTIME_ID) - whole;
    mine = cpu_s(CLOCK_THREAD_CPUTIME_ID) - mine;
    qsort(samples, steps, sizeof *samples, ascending);
    double sum = 0;
    for (long step = 0; step < steps; step++)
        sum += samples[step];
    printf("a fault: %.1f %.1f %.1f, mean %.1f ns; other threads: %.3f%% of a CPU; %.0f faults/s\n", samples[0], samples[steps / 10],
           samples[steps / 2], sum / steps, (whole - mine) / took * 100, (double)steps * STEP / took);
}

int main(int argc, char **argv)
{
    if (argc > 3 && strcmp(argv[1], "rate") == 0)
        rate(atol(argv[2]), atoi(argv[3]), argc > 4 ? atoi(argv[4]) : 0);
    else
        events(argc > 2 ? atoi(argv[2]) : 10);
    return 0;
}
