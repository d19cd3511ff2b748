/* Trap 4: memory that is freed, and allocated, while a thread is being taken down.
 * Destructors of thread_local objects and of pthread keys run after a hook's own thread state may have been destroyed; one
 * that re-creates it registers a destructor on a thread that is already gone. Keys here set themselves again, so that
 * all of glibc's four rounds are used.
 * Kept: keep_after 5 x 700; nothing of in_tls, in_key or in_destructor is live at the end.
 * build: -pthread */
#include <pthread.h>
#include <string>
#include <vector>
#include "keep.h"
KEEPER(keep_after)
NOIPA static void *in_key(size_t n) { void *p = malloc(n); CHECK(p); memset(p, 1, n); return p; }
NOIPA static void *in_destructor(size_t n) { void *p = malloc(n); CHECK(p); memset(p, 1, n); return p; }
static pthread_key_t keys[8], last;
struct Value { int key, round; };
struct Owner {
    void *block = nullptr;
    std::vector<std::string> words;
    NOIPA void in_tls() {
        block = malloc(3000);
        for (int i = 0; i < 50; i++) words.push_back(std::string(100 + i, 'x'));
    }
    ~Owner() {
        free(block);
        void *more = in_destructor(400);
        pthread_setspecific(last, more);
    }
};
static thread_local Owner owner;
/* Sets its key again for two more rounds, always with a fresh block. */
static void key_destructor(void *value) {
    Value old = *static_cast<Value *>(value);
    free(value);
    if (old.round == 2) return;
    Value *next = static_cast<Value *>(in_destructor(60));
    *next = {old.key, old.round + 1};
    pthread_setspecific(keys[old.key], next);
}
static void *thread(void *) {
    owner.in_tls();
    for (int i = 0; i < 8; i++) {
        Value *value = static_cast<Value *>(in_key(77));
        *value = {i, 0};
        pthread_setspecific(keys[i], value);
    }
    return nullptr;
}
int main() {
    for (auto &key : keys) CHECK(!pthread_key_create(&key, key_destructor));
    CHECK(!pthread_key_create(&last, free));
    for (int round = 0; round < 25; round++) {
        pthread_t threads[16];
        for (auto &t : threads) CHECK(!pthread_create(&t, nullptr, thread, nullptr));
        for (auto &t : threads) pthread_join(t, nullptr);
    }
    for (int i = 0; i < 5; i++) keep_after(700);
    puts("ok");
}
