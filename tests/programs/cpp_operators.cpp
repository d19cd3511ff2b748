/* Trap 24: operator new and delete in all their forms.
 * Kept: keep_new 10 x 240, keep_array 10 x 400, keep_aligned_new 10 x 256; churn: nothing.
 * build: -std=c++17 */
#include <list>
#include <map>
#include <memory>
#include <new>
#include <string>
#include <vector>
#include "keep.h"
struct Thing { char text[240]; };
struct alignas(64) Wide { char text[256]; };
static void *volatile kept[30];
NOIPA static void keep_new(int i) { kept[i] = new Thing; }
NOIPA static void keep_array(int i) { kept[10 + i] = new char[400]; }
NOIPA static void keep_aligned_new(int i) { kept[20 + i] = new Wide; }
NOIPA static void churn() {
    std::map<std::string, std::vector<int>> map;
    for (int i = 0; i < 200; i++) map[std::to_string(i) + std::string(i % 40, 'k')].assign(i, i);
    std::list<std::unique_ptr<Wide>> list;
    for (int i = 0; i < 50; i++) list.push_back(std::make_unique<Wide>());
    void *plain = ::operator new(100);
    ::operator delete(plain, 100);
    void *quiet = ::operator new(100, std::nothrow);
    ::operator delete(quiet, std::nothrow);
    void *wide = ::operator new(100, std::align_val_t(128));
    ::operator delete(wide, 100, std::align_val_t(128));
    delete[] new Thing[7];
}
int main() {
    for (int i = 0; i < 10; i++) keep_new(i), keep_array(i), keep_aligned_new(i);
    for (int i = 0; i < 20; i++) churn();
    volatile size_t huge = SIZE_MAX / 2;
    try {
        kept[0] = ::operator new(huge);
        puts("no exception");
    } catch (const std::bad_alloc &) {
        puts("bad_alloc");
    }
    printf("nothrow: %d\n", ::operator new(huge, std::nothrow) != nullptr);
    puts("ok");
}
