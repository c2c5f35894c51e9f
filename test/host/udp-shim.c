/*
 * Preloaded into a process it makes one system call fail, to see what is made of failures that no kernel at hand gives:
 *
 *   SHIM_SETSOCKOPT=level,name,errno   that socket option is refused
 *   SHIM_SOCKET=family,errno           sockets of that family are refused
 *   SHIM_RECVMMSG=errno                every other call is refused
 */
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

int setsockopt(int fd, int level, int name, const void *value, socklen_t length) {
  int (*next)(int, int, int, const void *, socklen_t) = dlsym(RTLD_NEXT, "setsockopt");
  int refused_level, refused_name, number;
  const char *rule = getenv("SHIM_SETSOCKOPT");
  if (rule != NULL && sscanf(rule, "%d,%d,%d", &refused_level, &refused_name, &number) == 3 && level == refused_level &&
      name == refused_name) {
    errno = number;
    return -1;
  }
  return next(fd, level, name, value, length);
}

int socket(int family, int type, int protocol) {
  int (*next)(int, int, int) = dlsym(RTLD_NEXT, "socket");
  int refused_family, number;
  const char *rule = getenv("SHIM_SOCKET");
  if (rule != NULL && sscanf(rule, "%d,%d", &refused_family, &number) == 2 && family == refused_family) {
    errno = number;
    return -1;
  }
  return next(family, type, protocol);
}

int recvmmsg(int fd, struct mmsghdr *messages, unsigned count, int flags, struct timespec *timeout) {
  static int calls;
  int (*next)(int, struct mmsghdr *, unsigned, int, struct timespec *) = dlsym(RTLD_NEXT, "recvmmsg");
  const char *rule = getenv("SHIM_RECVMMSG");
  if (rule != NULL && calls++ % 2 == 0) {
    errno = atoi(rule);
    return -1;
  }
  return next(fd, messages, count, flags, timeout);
}
