/* Trap 34: what is freed at the very end.
 * Static destructors, atexit handlers, destructors of libraries and __cxa_atexit handlers registered by handlers free after
 * main: a final snapshot that is taken in a destructor or an atexit handler of one's own shows these blocks as live.
 * Kept: keep_main 3 x 100. in_static, in_atexit, in_late, in_library: nothing is live at the end.
 * usage: exit_order return|exit|pthread_exit LIBRARY
 * build: -pthread -ldl */
#include <dlfcn.h>
#include <map>
#include <pthread.h>
#include <string>
#include "keep.h"
KEEPER(keep_main)
NOIPA static void *in_atexit(size_t n) { void *p = malloc(n); CHECK(p); memset(p, 1, n); return p; }
NOIPA static void *in_late(size_t n) { void *p = malloc(n); CHECK(p); memset(p, 1, n); return p; }
static void *early, *late;
struct Static {
    std::map<int, std::string> map;
    void *block = nullptr;
    NOIPA void in_static() {
        block = malloc(999);
        for (int i = 0; i < 100; i++) map[i] = std::string(60, 'a');
    }
    ~Static() { free(block); }
};
static Static object;
static void free_late() { free(late); }
static void at_exit() {
    free(early);
    late = in_late(321);
    atexit(free_late); /* registered while the handlers run */
}
static void *ender(void *) {
    usleep(20000);
    exit(5);
}
int main(int argc, char **argv) {
    CHECK(argc == 3);
    CHECK(dlopen(argv[2], RTLD_NOW));
    object.in_static();
    early = in_atexit(5000);
    CHECK(atexit(at_exit) == 0);
    for (int i = 0; i < 3; i++) keep_main(100);
    puts("ok");
    if (!strcmp(argv[1], "return")) return 5;
    if (!strcmp(argv[1], "exit")) exit(5);
    pthread_t thread;
    CHECK(!pthread_create(&thread, nullptr, ender, nullptr));
    pthread_exit(nullptr); /* another thread ends the process */
}
