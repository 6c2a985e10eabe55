/*
 * A disk that is slow to read, as a test has it for one program: preloaded, a read of a segment of the spool waits for as
 * long as the first byte of the file TEST_SLOW_READS, which may change, is not zero. The file's second byte becomes 1 with
 * the first read that waits.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

static volatile char none[2];
static volatile char *state = none;

__attribute__((constructor)) static void map_the_file(void) {
    const char *name = getenv("TEST_SLOW_READS");
    int file = name ? open(name, O_RDWR | O_CLOEXEC) : -1;
    void *page = file < 0 ? MAP_FAILED : mmap(NULL, sizeof none, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    if (page == MAP_FAILED)
        abort();
    state = page;
    close(file);
}

static int is_segment(int file) {
    char link[32], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t length = readlink(link, path, sizeof path);
    return length > 4 && !memcmp(path + length - 4, ".seg", 4);
}

ssize_t pread64(int file, void *bytes, size_t length, off64_t at) {
    struct timespec rest = {0, 10 * 1000 * 1000};
    if (*state && is_segment(file))
        for (state[1] = 1; *state;)
            nanosleep(&rest, NULL);
    return syscall(SYS_pread64, file, bytes, length, at);
}
