/* What the npm package netlink cannot do with its sockets: options, and many answers at once. */
#ifndef ESPALIER_NETLINK_H
#define ESPALIER_NETLINK_H

#include <node_api.h>

/* extendNetlinkSocket(protocol, port, receiveBufferBytes): the descriptor, or throws. */
napi_value js_extend_netlink_socket(napi_env env, napi_callback_info info);

/* netlinkDrops(descriptor): messages the socket had no room for, modulo 2^32, or throws. */
napi_value js_netlink_drops(napi_env env, napi_callback_info info);

/*
 * netlinkExchange(descriptor, requests, answers): sends the bytes of `requests`, several messages, in one datagram, and
 * reads what the kernel has answered by then into `answers`; how many bytes of it, or throws.
 */
napi_value js_netlink_exchange(napi_env env, napi_callback_info info);

#endif
