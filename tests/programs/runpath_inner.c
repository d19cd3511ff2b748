/* Part of runpath.c: found only through the RUNPATH of the library that opens it.
 * build: -shared -fPIC */
#include <stdlib.h>
#include <string.h>
char *inner_text(void) {
    char *text = strdup("from the inner library");
    return text;
}
