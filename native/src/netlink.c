#include "netlink.h"

#include <dirent.h>
#include <errno.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "errors.h"

static bool is_netlink_socket(int fd, uint32_t protocol, uint32_t port) {
  struct sockaddr_nl address = {0};
  socklen_t length = sizeof address;
  if (getsockname(fd, (struct sockaddr *)&address, &length) != 0) return false;
  if (address.nl_family != AF_NETLINK || address.nl_pid != port) return false;
  int its_protocol;
  length = sizeof its_protocol;
  return getsockopt(fd, SOL_SOCKET, SO_PROTOCOL, &its_protocol, &length) == 0 && (uint32_t)its_protocol == protocol;
}

/*
 * The descriptor of this process's netlink socket bound to `port`, or -1 and the `failure`. The package keeps its
 * descriptor to itself; protocol and port name a socket uniquely within a network namespace.
 */
static int find_netlink_socket(uint32_t protocol, uint32_t port, struct failure *failure) {
  DIR *descriptors = opendir("/proc/self/fd");
  if (descriptors == NULL) {
    *failure = (struct failure){errno, "opendir", NULL};
    return -1;
  }
  int found = -1;
  const struct dirent *entry;
  while (found < 0 && (entry = readdir(descriptors)) != NULL) {
    char *end;
    const long fd = strtol(entry->d_name, &end, 10);
    if (end != entry->d_name && *end == '\0' && is_netlink_socket((int)fd, protocol, port)) found = (int)fd;
  }
  closedir(descriptors);
  if (found < 0) *failure = (struct failure){ENOENT, "getsockname", NULL};
  return found;
}

static bool set(int fd, int level, int name, int value, const char *option, struct failure *failure) {
  if (setsockopt(fd, level, name, &value, sizeof value) == 0) return true;
  *failure = (struct failure){errno, "setsockopt", option};
  return false;
}

static bool extend(int fd, int receive_buffer, struct failure *failure) {
  /* Acknowledgements of errors without the request, which may hold keys, and with the kernel's text. */
  if (!set(fd, SOL_NETLINK, NETLINK_CAP_ACK, 1, "NETLINK_CAP_ACK", failure)) return false;
  if (!set(fd, SOL_NETLINK, NETLINK_EXT_ACK, 1, "NETLINK_EXT_ACK", failure)) return false;
  /*
   * No ENOBUFS: for a socket with a pending error libuv reports EBADF, and on that the package (0.3.0) ends the process
   * with an exception nobody can catch. What was lost is counted, see js_netlink_drops.
   */
  if (!set(fd, SOL_NETLINK, NETLINK_NO_ENOBUFS, 1, "NETLINK_NO_ENOBUFS", failure)) return false;
  /* Beyond net.core.rmem_max if we may; without the capability as far as that goes. */
  if (set(fd, SOL_SOCKET, SO_RCVBUFFORCE, receive_buffer, "SO_RCVBUFFORCE", failure)) return true;
  if (failure->number != EPERM) return false;
  return set(fd, SOL_SOCKET, SO_RCVBUF, receive_buffer, "SO_RCVBUF", failure);
}

napi_value js_extend_netlink_socket(napi_env env, napi_callback_info info) {
  size_t count = 3;
  napi_value arguments[3];
  uint32_t protocol;
  uint32_t port;
  int32_t receive_buffer;
  napi_value descriptor;
  if (!succeeded(env, napi_get_cb_info(env, info, &count, arguments, NULL, NULL))) return NULL;
  if (!succeeded(env, napi_get_value_uint32(env, arguments[0], &protocol))) return NULL;
  if (!succeeded(env, napi_get_value_uint32(env, arguments[1], &port))) return NULL;
  if (!succeeded(env, napi_get_value_int32(env, arguments[2], &receive_buffer))) return NULL;
  struct failure failure;
  const int fd = find_netlink_socket(protocol, port, &failure);
  if (fd < 0 || !extend(fd, receive_buffer, &failure)) {
    throw_failure(env, &failure);
    return NULL;
  }
  return succeeded(env, napi_create_int32(env, fd, &descriptor)) ? descriptor : NULL;
}

napi_value js_netlink_drops(napi_env env, napi_callback_info info) {
  size_t count = 1;
  napi_value argument;
  int32_t fd;
  uint32_t memory[SK_MEMINFO_VARS] = {0};
  socklen_t length = sizeof memory;
  napi_value drops;
  if (!succeeded(env, napi_get_cb_info(env, info, &count, &argument, NULL, NULL))) return NULL;
  if (!succeeded(env, napi_get_value_int32(env, argument, &fd))) return NULL;
  if (getsockopt(fd, SOL_SOCKET, SO_MEMINFO, memory, &length) != 0) {
    throw_failure(env, &(struct failure){errno, "getsockopt", "SO_MEMINFO"});
    return NULL;
  }
  return succeeded(env, napi_create_uint32(env, memory[SK_MEMINFO_DROPS], &drops)) ? drops : NULL;
}

/*
 * Reads what is there into `answers`, one datagram behind the other, each padded as netlink pads; returns how many bytes
 * that is. What others than the kernel (port 0) wrote, or what has no room, is dropped.
 */
static size_t drain(int fd, uint8_t *answers, size_t capacity) {
  size_t length = 0;
  while (length < capacity) {
    struct sockaddr_nl from = {0};
    socklen_t from_length = sizeof from;
    const size_t room = capacity - length;
    const ssize_t got =
        recvfrom(fd, answers + length, room, MSG_DONTWAIT | MSG_TRUNC, (struct sockaddr *)&from, &from_length);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) break;
    if (from.nl_pid == 0 && (size_t)got <= room) length += NLMSG_ALIGN((size_t)got);
  }
  return length < capacity ? length : capacity;
}

napi_value js_netlink_exchange(napi_env env, napi_callback_info info) {
  size_t count = 3;
  napi_value arguments[3];
  int32_t fd;
  void *requests;
  void *answers;
  size_t requests_length;
  size_t capacity;
  napi_value length;
  if (!succeeded(env, napi_get_cb_info(env, info, &count, arguments, NULL, NULL))) return NULL;
  if (!succeeded(env, napi_get_value_int32(env, arguments[0], &fd))) return NULL;
  if (!succeeded(env, napi_get_typedarray_info(env, arguments[1], NULL, &requests_length, &requests, NULL, NULL))) return NULL;
  if (!succeeded(env, napi_get_typedarray_info(env, arguments[2], NULL, &capacity, &answers, NULL, NULL))) return NULL;
  const struct sockaddr_nl kernel = {.nl_family = AF_NETLINK};
  ssize_t sent;
  do {
    sent = sendto(fd, requests, requests_length, 0, (const struct sockaddr *)&kernel, sizeof kernel);
  } while (sent < 0 && errno == EINTR);
  if (sent < 0) {
    throw_failure(env, &(struct failure){errno, "sendto", NULL});
    return NULL;
  }
  if (!succeeded(env, napi_create_uint32(env, (uint32_t)drain(fd, answers, capacity), &length))) return NULL;
  return length;
}
