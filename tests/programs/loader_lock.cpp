/* Trap 6, 7: the loader's lock against the hook's locks.
 * One thread opens and closes a library (allocating under the loader's lock), one walks the loaded objects and allocates in
 * the callback, one throws exceptions (the unwinder asks the loader), two only allocate. A hook that unwinds or asks the
 * loader while it holds a lock of its own deadlocks with them.
 * usage: loader_lock LIBRARY; kept: keep_main 9 x 100; in_callback, in_catch: nothing.
 * build: -pthread -ldl */
#include <dlfcn.h>
#include <link.h>
#include <pthread.h>
#include <stdexcept>
#include <string>
#include "keep.h"
KEEPER(keep_main)
CHURNER(churn)
static const char *path;
static const int ROUNDS = 400;
static void *opener(void *) {
    for (int i = 0; i < ROUNDS; i++) {
        void *library = dlopen(path, RTLD_NOW);
        CHECK(library);
        CHECK(dlsym(library, "touch"));
        dlclose(library);
    }
    return nullptr;
}
static int in_callback(dl_phdr_info *, size_t, void *) {
    churn();
    return 0;
}
static void *walker(void *) {
    for (int i = 0; i < ROUNDS; i++) dl_iterate_phdr(in_callback, nullptr);
    return nullptr;
}
NOIPA static void thrower(int depth, const std::string &text) {
    std::string longer = text + " and a tail that does not fit into the string itself";
    if (depth == 0) throw std::runtime_error(longer);
    thrower(depth - 1, longer);
}
static void *catcher(void *) {
    for (int i = 0; i < ROUNDS; i++) {
        try {
            thrower(20, "x");
        } catch (const std::exception &error) {
            CHECK(strlen(error.what()) > 100);
        }
    }
    return nullptr;
}
static void *allocator(void *) {
    for (int i = 0; i < ROUNDS * 10; i++) churn();
    return nullptr;
}
int main(int argc, char **argv) {
    CHECK(argc == 2);
    path = argv[1];
    void *(*jobs[])(void *) = {opener, walker, catcher, allocator, allocator};
    pthread_t threads[5];
    for (int i = 0; i < 5; i++) CHECK(!pthread_create(&threads[i], nullptr, jobs[i], nullptr));
    for (auto &thread : threads) pthread_join(thread, nullptr);
    for (int i = 0; i < 9; i++) keep_main(100);
    puts("ok");
}
