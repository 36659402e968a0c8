/* Preloaded into a process (LD_PRELOAD), lets its n-th open for writing, write, flush or rename below a folder fail.

   cc -shared -fPIC -O1 -o calls.so calls.c -ldl
   calls_arm(folder, n, fault) from inside of the process; calls_seen() tells how many there were since. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

enum { KILL, TORN, IO_ERROR, NO_SPACE };

static char folder[PATH_MAX];
static long wanted = 0, seen = 0;
static int fault = 0;

void calls_arm(const char *place, long number, int what) {
    strncpy(folder, place, sizeof folder - 1);
    wanted = number; fault = what; seen = 0;
}

long calls_seen(void) { return seen; }

static int below(const char *path) { return folder[0] && path && !strncmp(path, folder, strlen(folder)); }

static int below_fd(int number) {
    char link[64], path[PATH_MAX];
    if (!folder[0]) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", number);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0) return 0;
    path[length] = 0;
    return below(path);
}

static void die(void) { kill(getpid(), SIGKILL); pause(); }

/* 0: go on; 1: fail with errno set; 2: do a part, or all that has no parts, and die. */
static int due(int ours) {
    if (!ours || ++seen != wanted) return 0;
    if (fault == KILL) die();
    if (fault == TORN) return 2;
    errno = fault == IO_ERROR ? EIO : ENOSPC;
    return 1;
}

#define REAL(type, name, ...) \
    static type (*real)(__VA_ARGS__) = 0; \
    if (!real) real = (type (*)(__VA_ARGS__))dlsym(RTLD_NEXT, name)

#define WRITES (O_WRONLY | O_RDWR | O_CREAT)
#define OPEN(name) \
    int name(const char *path, int flags, ...) { \
        REAL(int, #name, const char *, int, mode_t); \
        va_list rest; va_start(rest, flags); mode_t mode = va_arg(rest, mode_t); va_end(rest); \
        int what = due((flags & WRITES) && below(path)); \
        if (what == 1) return -1; \
        int number = real(path, flags, mode); \
        if (what == 2) die(); \
        return number; \
    }
OPEN(open)
OPEN(open64)

#define OPENAT(name) \
    int name(int at, const char *path, int flags, ...) { \
        REAL(int, #name, int, const char *, int, mode_t); \
        va_list rest; va_start(rest, flags); mode_t mode = va_arg(rest, mode_t); va_end(rest); \
        int what = due((flags & WRITES) && below(path)); \
        if (what == 1) return -1; \
        int number = real(at, path, flags, mode); \
        if (what == 2) die(); \
        return number; \
    }
OPENAT(openat)
OPENAT(openat64)

#define FOPEN(name) \
    FILE *name(const char *path, const char *mode) { \
        REAL(FILE *, #name, const char *, const char *); \
        int what = due(strpbrk(mode, "wa+") && below(path)); \
        if (what == 1) return 0; \
        FILE *file = real(path, mode); \
        if (what == 2) die(); \
        return file; \
    }
FOPEN(fopen)
FOPEN(fopen64)

ssize_t write(int number, const void *bytes, size_t count) {
    REAL(ssize_t, "write", int, const void *, size_t);
    int what = due(below_fd(number));
    if (what == 1) return -1;
    if (what == 2) { real(number, bytes, count / 2); die(); }
    return real(number, bytes, count);
}

ssize_t writev(int number, const struct iovec *parts, int count) {
    REAL(ssize_t, "writev", int, const struct iovec *, int);
    int what = due(below_fd(number));
    if (what == 1) return -1;
    if (what == 2) { real(number, parts, count / 2); die(); }
    return real(number, parts, count);
}

#define PWRITE(name) \
    ssize_t name(int number, const void *bytes, size_t count, off_t at) { \
        REAL(ssize_t, #name, int, const void *, size_t, off_t); \
        int what = due(below_fd(number)); \
        if (what == 1) return -1; \
        if (what == 2) { real(number, bytes, count / 2, at); die(); } \
        return real(number, bytes, count, at); \
    }
PWRITE(pwrite)
PWRITE(pwrite64)

#define FLUSH(name) \
    int name(int number) { \
        REAL(int, #name, int); \
        int what = due(below_fd(number)); \
        if (what == 1) return -1; \
        int status = real(number); \
        if (what == 2) die(); \
        return status; \
    }
FLUSH(fsync)
FLUSH(fdatasync)

int rename(const char *from, const char *to) {
    REAL(int, "rename", const char *, const char *);
    int what = due(below(to));
    if (what == 1) return -1;
    int status = real(from, to);
    if (what == 2) die();
    return status;
}

int renameat(int at, const char *from, int other, const char *to) {
    REAL(int, "renameat", int, const char *, int, const char *);
    int what = due(below(to));
    if (what == 1) return -1;
    int status = real(at, from, other, to);
    if (what == 2) die();
    return status;
}
