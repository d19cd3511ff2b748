/* Trap 42: a program linked against musl. `run` refuses it; the loader of musl cannot load a library made for glibc.
 * build: musl-gcc */
#include <stdio.h>
int main(void) {
    puts("ok");
    return 0;
}
