/* Threads that wait in calls which a signal or a tracer would interrupt, until the file "end" is there. Any EINTR, any SIGCHLD
 * and any child that wait() tells of is a failure. Says "at 1" when all wait, and at the end whether the calls returned.
 * build: -O1 -pthread */
#define _GNU_SOURCE
#include "keep.h"
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
static volatile int end;
static volatile sig_atomic_t children;
static int calls, epoll, listener, pair[2];
static void on_child(int signal) { (void)signal; children++; }
#define WAITER(name, call)                                               \
    static void *name(void *unused) {                                    \
        (void)unused;                                                    \
        while (!end) {                                                   \
            errno = 0;                                                   \
            long result = call;                                          \
            CHECK(result >= 0 || errno == EAGAIN || errno == ETIMEDOUT); \
            __atomic_add_fetch(&calls, 1, __ATOMIC_RELAXED);             \
        }                                                                \
        return NULL;                                                     \
    }
static struct epoll_event event;
static struct pollfd polled;
static const struct timespec nap = {0, 300000000};
WAITER(in_epoll_wait, epoll_wait(epoll, &event, 1, 300))
WAITER(in_poll, poll(&polled, 1, 300))
WAITER(in_nanosleep, nanosleep(&nap, NULL))
WAITER(in_accept, accept(listener, NULL, NULL))
WAITER(in_recv, recv(pair[0], &(char){0}, 1, 0))
WAITER(in_sigtimedwait, sigtimedwait(&(sigset_t){0}, NULL, &nap))
int main(void) {
    static void *(*const all[])(void *) = {in_epoll_wait, in_poll, in_nanosleep, in_accept, in_recv, in_sigtimedwait};
    pthread_t thread;
    struct stat found;
    struct timeval limit = {0, 300000};
    struct sockaddr_in any = {.sin_family = AF_INET};
    signal(SIGCHLD, on_child);
    CHECK((epoll = epoll_create1(0)) >= 0);
    CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0);
    CHECK((listener = socket(AF_INET, SOCK_STREAM, 0)) >= 0);
    CHECK(bind(listener, (struct sockaddr *)&any, sizeof any) == 0 && listen(listener, 1) == 0);
    /* With a time limit these are not restarted, whatever interrupts them. */
    CHECK(setsockopt(listener, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit) == 0);
    CHECK(setsockopt(pair[0], SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit) == 0);
    polled = (struct pollfd){.fd = pair[1], .events = POLLIN};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) CHECK(pthread_create(&thread, NULL, all[i], NULL) == 0);
    for (int i = 0; i < 50; i++) free(malloc(1000 + i));
    usleep(50000);
    dprintf(1, "at 1\n");
    while (stat("end", &found) != 0) {
        errno = 0;
        CHECK(waitpid(-1, NULL, WNOHANG) == -1 && errno == ECHILD);
        usleep(500);
    }
    for (int i = 0; i < 6000 && calls < 12; i++) usleep(10000);
    end = 1;
    CHECK(children == 0);
    dprintf(1, "%s\n", calls >= 12 ? "undisturbed" : "too few calls returned");
    _exit(0);
}
