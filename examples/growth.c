/* An unbounded list: everything is reachable and nothing is ever given back.
 *
 * build:  cc -g -O1 -o growth growth.c
 * run:    leaktrack run -- ./growth [SECONDS]        (20)
 *
 * What leaktrack must report:
 *   append_event     growing, linear, 1,000 bytes in one block every 10 ms: about 100 kB/s
 *   format_line      healthy: each block is freed before the next is made
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct event {
    struct event *next;
    char text[1000 - sizeof(struct event *)];
};

static struct event *journal;

__attribute__((noinline)) static void append_event(const char *line)
{
    struct event *event = malloc(sizeof *event);
    strncpy(event->text, line, sizeof event->text);
    event->next = journal;
    journal = event;
}

__attribute__((noinline)) static char *format_line(int i)
{
    char *line = malloc(64);
    snprintf(line, 64, "event %d", i);
    return line;
}

int main(int argc, char **argv)
{
    int seconds = argc > 1 ? atoi(argv[1]) : 20;
    struct timespec pause = {0, 10 * 1000 * 1000};
    for (int i = 0; i < seconds * 100; i++) {
        char *line = format_line(i);
        append_event(line);
        free(line);
        nanosleep(&pause, NULL);
    }
    return journal == NULL;
}
