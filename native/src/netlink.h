/* Options of netlink sockets that the npm package netlink cannot set. */
#ifndef ESPALIER_NETLINK_H
#define ESPALIER_NETLINK_H

#include <node_api.h>

/* extendNetlinkSocket(protocol, port, receiveBufferBytes): undefined, or throws. */
napi_value js_extend_netlink_socket(napi_env env, napi_callback_info info);

#endif
