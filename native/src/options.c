#include "options.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
/* After netinet/in.h, which it would otherwise define over again. */
#include <linux/xfrm.h>

/* ---- reading ---- */

static bool refuse(napi_env env, bool range, const char *name, const char *wanted) {
  char message[160];
  snprintf(message, sizeof message, "the option %s must be %s", name, wanted);
  napi_status status = range ? napi_throw_range_error(env, "ERR_OUT_OF_RANGE", message)
                             : napi_throw_type_error(env, "ERR_INVALID_ARG_TYPE", message);
  (void)succeeded(env, status);
  return false;
}

/* Leaves `value` alone when the property is undefined. */
static bool read_bool(napi_env env, napi_value object, const char *name, bool *value) {
  napi_value property;
  napi_valuetype type;
  if (!succeeded(env, napi_get_named_property(env, object, name, &property))) return false;
  if (!succeeded(env, napi_typeof(env, property, &type))) return false;
  if (type == napi_undefined) return true;
  if (type != napi_boolean) return refuse(env, false, name, "a boolean");
  return succeeded(env, napi_get_value_bool(env, property, value));
}

/* Leaves `value` alone when the property is undefined. */
static bool read_number(napi_env env, napi_value object, const char *name, uint32_t maximum, uint32_t *value) {
  napi_value property;
  napi_valuetype type;
  double number;
  if (!succeeded(env, napi_get_named_property(env, object, name, &property))) return false;
  if (!succeeded(env, napi_typeof(env, property, &type))) return false;
  if (type == napi_undefined) return true;
  if (type != napi_number) return refuse(env, false, name, "a number");
  if (!succeeded(env, napi_get_value_double(env, property, &number))) return false;
  if (!(number >= 0 && number <= maximum) || number != (double)(uint32_t)number) {
    char wanted[64];
    snprintf(wanted, sizeof wanted, "an integer from 0 to %u", maximum);
    return refuse(env, true, name, wanted);
  }
  *value = (uint32_t)number;
  return true;
}

bool options_read(napi_env env, napi_value object, struct socket_options *options) {
  napi_valuetype type;
  uint32_t family = 0;
  uint32_t port = 0;
  *options = (struct socket_options){.maximum = DATAGRAM_MAXIMUM};
  if (!succeeded(env, napi_typeof(env, object, &type))) return false;
  if (type != napi_object) {
    (void)succeeded(env, napi_throw_type_error(env, "ERR_INVALID_ARG_TYPE", "the options must be an object"));
    return false;
  }
  if (!read_number(env, object, "family", 6, &family)) return false;
  if (family != 4 && family != 6) return refuse(env, true, "family", "4 or 6");
  options->family = family == 4 ? AF_INET : AF_INET6;
  if (!read_number(env, object, "port", UINT16_MAX, &port)) return false;
  options->port = (uint16_t)port;
  /* The kernel doubles SO_RCVBUF in an int. */
  return read_bool(env, object, "udpEncap", &options->udp_encap) &&
         read_bool(env, object, "udpGro", &options->udp_gro) &&
         read_bool(env, object, "bypassPolicy", &options->bypass_policy) &&
         read_bool(env, object, "reusePort", &options->reuse_port) &&
         read_number(env, object, "mark", UINT32_MAX, &options->mark) &&
         read_number(env, object, "receiveBufferBytes", INT_MAX / 2, &options->receive_buffer) &&
         read_number(env, object, "dscp", 63, &options->dscp) &&
         read_number(env, object, "maximumBytes", DATAGRAM_MAXIMUM, &options->maximum) &&
         read_number(env, object, "descriptor", INT_MAX, &options->descriptor);
}

/* ---- setting ---- */

static bool failed(struct failure *failure, const char *syscall, const char *option) {
  *failure = (struct failure){errno, syscall, option};
  return false;
}

static bool set(int fd, int level, int name, int value, const char *option, struct failure *failure) {
  if (setsockopt(fd, level, name, &value, sizeof value) == 0) return true;
  return failed(failure, "setsockopt", option);
}

#define SET(fd, level, name, value, failure) set(fd, level, name, value, #name, failure)

/*
 * IKE has to get through while policies send everything else through tunnels: a policy on the socket itself goes before
 * those of the host. Zeroed but for action and family it matches every packet of the socket.
 */
static bool set_bypass(int fd, int family, struct failure *failure) {
  static const uint8_t directions[] = {XFRM_POLICY_OUT, XFRM_POLICY_IN};
  const bool v4 = family == AF_INET;
  for (size_t at = 0; at < sizeof directions; at++) {
    struct xfrm_userpolicy_info policy;
    memset(&policy, 0, sizeof policy);
    policy.action = XFRM_POLICY_ALLOW;
    policy.sel.family = (uint16_t)family;
    policy.dir = directions[at];
    if (setsockopt(fd, v4 ? IPPROTO_IP : IPPROTO_IPV6, v4 ? IP_XFRM_POLICY : IPV6_XFRM_POLICY, &policy, sizeof policy) != 0) {
      return failed(failure, "setsockopt", v4 ? "IP_XFRM_POLICY" : "IPV6_XFRM_POLICY");
    }
  }
  return true;
}

bool options_set_route(int fd, int family, uint32_t mark, bool bypass_policy, struct failure *failure) {
  if (mark != 0 && !SET(fd, SOL_SOCKET, SO_MARK, (int)mark, failure)) return false;
  return !bypass_policy || set_bypass(fd, family, failure);
}

/* SO_RCVBUFFORCE goes beyond net.core.rmem_max but is for the privileged; without privilege the limit holds. */
static bool set_receive_buffer(int fd, uint32_t bytes, struct failure *failure) {
  const int value = (int)bytes;
  if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &value, sizeof value) == 0) return true;
  if (errno != EPERM) return failed(failure, "setsockopt", "SO_RCVBUFFORCE");
  return SET(fd, SOL_SOCKET, SO_RCVBUF, value, failure);
}

static bool set_all(int fd, const struct socket_options *options, struct failure *failure) {
  if (!options_set_route(fd, options->family, options->mark, options->bypass_policy, failure)) return false;
  if (options->reuse_port && !SET(fd, SOL_SOCKET, SO_REUSEPORT, 1, failure)) return false;
  if (options->receive_buffer != 0 && !set_receive_buffer(fd, options->receive_buffer, failure)) return false;
  if (options->udp_encap && !SET(fd, IPPROTO_UDP, UDP_ENCAP, UDP_ENCAP_ESPINUDP, failure)) return false;
  if (options->udp_gro && !SET(fd, IPPROTO_UDP, UDP_GRO, 1, failure)) return false;
  /* The upper six bits are the DSCP, the lower two belong to ECN (RFC 3168). */
  const int traffic_class = (int)options->dscp << 2;
  /* Path MTU discovery off: large IKE messages are to be fragmented on their way, not refused with EMSGSIZE. */
  if (options->family == AF_INET) {
    return SET(fd, IPPROTO_IP, IP_PKTINFO, 1, failure) &&
           SET(fd, IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_DONT, failure) &&
           SET(fd, IPPROTO_IP, IP_TOS, traffic_class, failure);
  }
  return SET(fd, IPPROTO_IPV6, IPV6_V6ONLY, 1, failure) &&
         SET(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, 1, failure) &&
         SET(fd, IPPROTO_IPV6, IPV6_MTU_DISCOVER, IPV6_PMTUDISC_DONT, failure) &&
         SET(fd, IPPROTO_IPV6, IPV6_TCLASS, traffic_class, failure);
}

static bool bind_any(int fd, const struct socket_options *options, struct failure *failure) {
  int result;
  if (options->family == AF_INET) {
    const struct sockaddr_in any = {.sin_family = AF_INET, .sin_port = htons(options->port)};
    result = bind(fd, (const struct sockaddr *)&any, sizeof any);
  } else {
    const struct sockaddr_in6 any = {.sin6_family = AF_INET6, .sin6_port = htons(options->port)};
    result = bind(fd, (const struct sockaddr *)&any, sizeof any);
  }
  return result == 0 || failed(failure, "bind", NULL);
}

/* What exec() left open is ours alone again, or -1: there is no socket like it. */
static int take_over(const struct socket_options *options, struct failure *failure) {
  const int fd = (int)options->descriptor;
  int domain = 0;
  int protocol = 0;
  socklen_t length = sizeof domain;
  if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &length) != 0 ||
      getsockopt(fd, SOL_SOCKET, SO_PROTOCOL, &protocol, &length) != 0) {
    failed(failure, "getsockopt", NULL);
    return -1;
  }
  if (domain != options->family || protocol != IPPROTO_UDP) {
    errno = EPROTOTYPE;
    failed(failure, "getsockopt", NULL);
    return -1;
  }
  if (fcntl(fd, F_SETFD, FD_CLOEXEC) == 0) return fd;
  failed(failure, "fcntl", NULL);
  return -1;
}

int options_open(const struct socket_options *options, struct failure *failure) {
  if (options->descriptor != 0) return take_over(options, failure);
  const int fd = socket(options->family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, IPPROTO_UDP);
  if (fd < 0) {
    failed(failure, "socket", NULL);
    return -1;
  }
  if (set_all(fd, options, failure) && bind_any(fd, options, failure)) return fd;
  close(fd);
  return -1;
}
