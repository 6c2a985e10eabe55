/*
 * The machine's wall clock, as a test sets it for one program while that runs: preloaded, it adds the seconds that stand
 * in the file TEST_CLOCK (a signed number of 8 bytes, which may change) to what the clock says. Steady clocks are left
 * alone. Who waits until a time of the wall clock waits as the kernel would have it: longer when it is set back.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <threads.h>
#include <time.h>
#include <unistd.h>

#define SECOND 1000000000LL
/* How soon somebody who waits sees that the clock was set, in nanoseconds. */
#define LOOK (SECOND / 20)

static volatile int64_t none;
static volatile int64_t *offset = &none;

__attribute__((constructor)) static void look_at_the_file(void) {
    const char *name = getenv("TEST_CLOCK");
    int file = name ? open(name, O_RDONLY | O_CLOEXEC) : -1;
    void *page = file < 0 ? MAP_FAILED : mmap(NULL, sizeof *offset, PROT_READ, MAP_SHARED, file, 0);
    if (page == MAP_FAILED)
        abort();
    offset = page;
    close(file);
}

static int64_t real_now(void) {
    struct timespec now;
    syscall(SYS_clock_gettime, CLOCK_REALTIME, &now);
    return now.tv_sec * SECOND + now.tv_nsec;
}

int clock_gettime(clockid_t clock, struct timespec *now) {
    int failed = (int)syscall(SYS_clock_gettime, clock, now);
    if (!failed && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE))
        now->tv_sec += *offset;
    return failed;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
    int64_t nanos = real_now();
    (void)zone;
    now->tv_sec = nanos / SECOND + *offset;
    now->tv_usec = nanos % SECOND / 1000;
    return 0;
}

int timespec_get(struct timespec *now, int base) {
    return base == TIME_UTC && !clock_gettime(CLOCK_REALTIME, now) ? base : 0;
}

time_t time(time_t *to) {
    time_t now = real_now() / SECOND + *offset;
    if (to)
        *to = now;
    return now;
}

int cnd_timedwait(cnd_t *restrict condition, mtx_t *restrict mutex, const struct timespec *restrict until) {
    static int (*real)(cnd_t *, mtx_t *, const struct timespec *);
    if (!real)
        *(void **)&real = dlsym(RTLD_NEXT, "cnd_timedwait");
    for (;;) {
        int64_t now = real_now();
        int64_t left = until->tv_sec * SECOND + until->tv_nsec - (now + *offset * SECOND);
        if (left <= 0)
            return thrd_timedout;
        now += left < LOOK ? left : LOOK;
        struct timespec look = {now / SECOND, now % SECOND};
        int outcome = real(condition, mutex, &look);
        if (outcome != thrd_timedout)
            return outcome;
    }
}
