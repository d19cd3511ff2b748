/* Trap 48: an interposed clock. Every function of libc that tells the time says 1 January 2001, and counts: a hook that asks
 * libc for the time gets the wrong one.
 * build: -shared -fPIC */
#define _GNU_SOURCE
#include <sys/time.h>
#include <time.h>
#define THEN 978307200
int clock_gettime(clockid_t clock, struct timespec *out) {
    (void)clock;
    out->tv_sec = THEN;
    out->tv_nsec = 0;
    return 0;
}
int gettimeofday(struct timeval *restrict out, void *restrict zone) {
    (void)zone;
    out->tv_sec = THEN;
    out->tv_usec = 0;
    return 0;
}
time_t time(time_t *out) {
    if (out) *out = THEN;
    return THEN;
}
