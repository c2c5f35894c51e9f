/* The options of a socket: read from a JavaScript object, set on a file descriptor. */
#ifndef ESPALIER_OPTIONS_H
#define ESPALIER_OPTIONS_H

#include <node_api.h>
#include <stdbool.h>
#include <stdint.h>

#include "errors.h"

/* RFC 768: the length field has 16 bits. */
#define DATAGRAM_MAXIMUM 65535

struct socket_options {
  int family;               /* AF_INET or AF_INET6 */
  uint16_t port;            /* 0: any free one */
  bool udp_encap;           /* UDP_ENCAP = UDP_ENCAP_ESPINUDP */
  bool udp_gro;             /* UDP_GRO */
  bool bypass_policy;       /* IP_XFRM_POLICY or IPV6_XFRM_POLICY, out and in */
  bool reuse_port;          /* SO_REUSEPORT */
  uint32_t mark;            /* SO_MARK; 0: not set */
  uint32_t receive_buffer;  /* SO_RCVBUF in bytes; 0: the system's default */
  uint32_t dscp;            /* 0 to 63, RFC 2474 */
  uint32_t maximum;         /* bytes of the largest datagram taken in */
  uint32_t descriptor;      /* a socket that this process has from the program it was before; 0: a new one */
};

/* Reads `object`; on a value of the wrong type or range throws a TypeError or RangeError naming the property. */
bool options_read(napi_env env, napi_value object, struct socket_options *options);

/*
 * A bound, non-blocking socket with all `options` set, or -1 and the `failure`. What decides which packets the socket
 * takes or lets through is set before it is bound, so that there is no moment in which it behaves otherwise. One that
 * is there already has its options; it is looked at for being a UDP socket of the family.
 */
int options_open(const struct socket_options *options, struct failure *failure);

/* SO_MARK and the bypass policy alone, for a socket that only asks for a route. */
bool options_set_route(int fd, int family, uint32_t mark, bool bypass_policy, struct failure *failure);

#endif
