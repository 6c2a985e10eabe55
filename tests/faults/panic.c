/*
 * A bug in one thread of one program, as a test has it: preloaded, a call fails that Rust's libraries take to never
 * fail, so that the thread that calls panics. TEST_PANIC_CALL names the call, `clock` (the steady one) or `random`;
 * TEST_PANIC_THREAD is how the kernel's name of the thread begins; and the file TEST_PANIC_LEFT holds how many calls have
 * yet to fail (a number of 4 bytes, which may change).
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

static _Atomic int none;
static _Atomic int *left = &none;
static const char *call = "", *thread = "";

__attribute__((constructor)) static void look_at_the_environment(void) {
    const char *name = getenv("TEST_PANIC_LEFT");
    int file = name ? open(name, O_RDWR | O_CLOEXEC) : -1;
    void *page = file < 0 ? MAP_FAILED : mmap(NULL, sizeof *left, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    call = getenv("TEST_PANIC_CALL");
    thread = getenv("TEST_PANIC_THREAD");
    if (page == MAP_FAILED || !call || !thread)
        abort();
    left = page;
    close(file);
}

static int fails(const char *called) {
    char name[16];
    if (atomic_load(left) <= 0 || strcmp(call, called) || prctl(PR_GET_NAME, name) ||
        strncmp(name, thread, strlen(thread)))
        return 0;
    return atomic_fetch_sub(left, 1) > 0;
}

/* The time is told all the same: what is written in C asks for no outcome. */
int clock_gettime(clockid_t clock, struct timespec *now) {
    int failed = (int)syscall(SYS_clock_gettime, clock, now);
    if (clock == CLOCK_MONOTONIC && fails("clock")) {
        errno = EIO;
        return -1;
    }
    return failed;
}

ssize_t getrandom(void *bytes, size_t length, unsigned flags) {
    /* A call for nothing asks whether there is such a call at all; one with flags is for a hash table of a new thread. */
    if (length && !flags && fails("random")) {
        errno = EIO;
        return -1;
    }
    return syscall(SYS_getrandom, bytes, length, flags);
}
