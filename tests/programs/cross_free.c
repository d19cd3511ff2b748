/* Trap 23: memory that libc allocates inside arrives in the program's free.
 * Kept: keep_text, one block each from strdup (6), strndup (4), asprintf (9 at least), getline, realpath, getcwd,
 * open_memstream: 7 blocks; cross: nothing. */
#define _GNU_SOURCE
#include <wchar.h>
#include "keep.h"
static void *kept[8];
NOIPA static void keep_text(void) {
    char *text = NULL;
    size_t room = 0;
    kept[0] = strdup("12345");
    kept[1] = strndup("1234567", 3);
    CHECK(asprintf(&text, "%08d", 7) == 8);
    kept[2] = text;
    FILE *file = fopen("/proc/self/status", "r");
    text = NULL;
    CHECK(file && getline(&text, &room, file) > 0);
    kept[3] = text;
    fclose(file);
    kept[4] = realpath("/proc/self/../self", NULL);
    kept[5] = getcwd(NULL, 0);
    text = NULL;
    FILE *memory = open_memstream(&text, &room);
    CHECK(memory);
    for (int i = 0; i < 3000; i++) fprintf(memory, "%d,", i);
    fclose(memory);
    kept[6] = text;
    for (int i = 0; i < 7; i++) CHECK(kept[i]);
}
NOIPA static void cross(void) {
    char *text = NULL;
    size_t room = 0;
    free(strdup("x"));
    free(wcsdup(L"wide"));
    FILE *file = fopen("/proc/self/maps", "r");
    CHECK(file);
    while (getline(&text, &room, file) > 0) {
    }
    fclose(file);
    free(text);
    CHECK(asprintf(&text, "%2000d", 1) == 2000);
    free(text);
    free(realpath(".", NULL));
    free(getcwd(NULL, 0));
}
int main(void) {
    keep_text();
    for (int i = 0; i < 30; i++) cross();
    puts("ok");
    return 0;
}
