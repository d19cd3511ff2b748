/* Generated code that its runtime has names for, in a perf map or a jitdump, which is gone when the program ends.
 * The same address belongs to one function first and to another later: what was allocated by the first keeps its name.
 * Waits for the files 1 and 2, after the first and after the second.
 * usage: code_names map|dump; kept: keep_early 50 x 64 below make_session, keep_late 30 x 96 below cache_page. */
#include <fcntl.h>
#include <stdint.h>
#include <sys/mman.h>
#include "keep.h"
KEEPER(keep_early)
KEEPER(keep_late)
static const unsigned char with_frame[] = {0x55, 0x48, 0x89, 0xe5, 0xff, 0xd7, 0x5d, 0xc3}; /* push rbp; mov rbp,rsp; call rdi; pop rbp; ret */
static char path[64];
static int file;
static void early(void) { keep_early(64); }
static void late(void) { keep_late(96); }
static NOIPA void run_early(void (*code)(void (*)(void))) { for (int i = 0; i < 50; i++) code(early); }
static NOIPA void run_late(void (*code)(void (*)(void))) { for (int i = 0; i < 30; i++) code(late); }
static void put(const void *bytes, size_t length) { CHECK(write(file, bytes, length) == (ssize_t)length); }

static void put_line(const char *name, const unsigned char *code) {
    char line[512];
    put(line, snprintf(line, sizeof line, "%lx %zx %s\n", (unsigned long)code, sizeof with_frame, name));
}

static void put_load(const char *name, const unsigned char *code) {
    struct { uint32_t id, size; uint64_t time; uint32_t pid, tid; uint64_t vma, address, length, index; } load = {0};
    load.size = sizeof load + strlen(name) + 1 + sizeof with_frame;
    load.vma = load.address = (uintptr_t)code;
    load.length = sizeof with_frame;
    put(&load, sizeof load);
    put(name, strlen(name) + 1);
    put(code, sizeof with_frame);
}

int main(int argc, char **argv) {
    int dump = argc > 1 && strcmp(argv[1], "dump") == 0;
    unsigned char *code = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(code != MAP_FAILED);
    memcpy(code + 64, with_frame, sizeof with_frame);
    CHECK(mprotect(code, 4096, PROT_READ | PROT_EXEC) == 0);
    snprintf(path, sizeof path, dump ? "./jit-%d.dump" : "/tmp/perf-%d.map", getpid());
    file = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
    CHECK(file >= 0);
    if (dump) {
        const uint32_t header[10] = {0x4A695444, 1, 40, 62, 0, getpid()};
        put(header, sizeof header);
        CHECK(mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE, file, 0) != MAP_FAILED);
    }
    void (*const name_code)(const char *, const unsigned char *) = dump ? put_load : put_line;
    name_code("JS:~other /srv/other.js:9:1", code + 128);
    name_code("JS:~make_session /srv/shop/session.js:31:5", code + 64);
    run_early((void (*)(void (*)(void)))(code + 64));
    wait_for_step("1"); /* the names were taken */
    name_code("py::Pages.cache_page:/srv/shop/pages.py", code + 64);
    run_late((void (*)(void (*)(void)))(code + 64));
    wait_for_step("2");
    CHECK(unlink(path) == 0);
    puts("ok");
    return 0;
}
