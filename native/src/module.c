/* The addon as JavaScript sees it: UdpSocket, a few functions beside it, and those of netlink.h. */
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "netlink.h"
#include "socket.h"

void module_release(struct module *module) {
  if (--module->references > 0) return;
  free(module->slab);
  free(module);
}

static void on_finalize(node_api_basic_env env, void *data, void *hint) {
  (void)env;
  (void)hint;
  module_release(data);
}

/* The environment ends (process exit, a worker's end): its sockets with it, and it waits until the loop has let go. */
static void on_teardown(napi_async_cleanup_hook_handle handle, void *data) {
  struct module *module = data;
  while (module->first != NULL) socket_close(module->first);
  module->teardown = handle;
  if (module->loop_handles == 0) (void)napi_remove_async_cleanup_hook(handle);
}

/* Fills `to` and gives its length. Any port will do: nothing is sent. */
static socklen_t destination(struct sockaddr_storage *to, const uint8_t *address, size_t length) {
  memset(to, 0, sizeof *to);
  if (length == 4) {
    struct sockaddr_in *v4 = (struct sockaddr_in *)to;
    v4->sin_family = AF_INET;
    v4->sin_port = htons(500);
    memcpy(&v4->sin_addr, address, 4);
    return sizeof *v4;
  }
  struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)to;
  v6->sin6_family = AF_INET6;
  v6->sin6_port = htons(500);
  memcpy(&v6->sin6_addr, address, 16);
  return sizeof *v6;
}

/* What is asked of the kernel when it chooses a source address. */
struct source_wishes {
  uint32_t mark;
  bool bypass_policy;
  bool prefers_temporary;
};

/* RFC 5014, as in linux/in6.h, which does not go with netinet/in.h. */
enum { PREFER_TEMPORARY = 1, PREFER_PUBLIC = 2 };

/* Whatever net.ipv6.conf.*.use_tempaddr says. */
static bool prefer_addresses(int fd, bool prefers_temporary, struct failure *failure) {
  const int preference = prefers_temporary ? PREFER_TEMPORARY : PREFER_PUBLIC;
  if (setsockopt(fd, IPPROTO_IPV6, IPV6_ADDR_PREFERENCES, &preference, sizeof preference) == 0) return true;
  *failure = (struct failure){errno, "setsockopt", "IPV6_ADDR_PREFERENCES"};
  return false;
}

/* The kernel's choice of source address in `local`; false with the `failure`, of connect when there is no route. */
static bool ask_source(const struct sockaddr_storage *to, socklen_t length, const struct source_wishes *wishes,
                       struct sockaddr_storage *local, struct failure *failure) {
  const int fd = socket(to->ss_family, SOCK_DGRAM | SOCK_CLOEXEC, IPPROTO_UDP);
  if (fd < 0) {
    *failure = (struct failure){errno, "socket", NULL};
    return false;
  }
  socklen_t local_length = sizeof *local;
  bool done = options_set_route(fd, to->ss_family, wishes->mark, wishes->bypass_policy, failure);
  if (done && to->ss_family == AF_INET6) done = prefer_addresses(fd, wishes->prefers_temporary, failure);
  if (done && connect(fd, (const struct sockaddr *)to, length) != 0) {
    *failure = (struct failure){errno, "connect", NULL};
    done = false;
  }
  if (done && getsockname(fd, (struct sockaddr *)local, &local_length) != 0) {
    *failure = (struct failure){errno, "getsockname", NULL};
    done = false;
  }
  close(fd);
  return done;
}

/* sourceAddress(bytes, mark, bypassPolicy, [prefersTemporary]): a Uint8Array of the same length, or throws */
static napi_value js_source_address(napi_env env, napi_callback_info info) {
  size_t count = 4;
  napi_value arguments[4];
  bool is_typed_array = false;
  napi_typedarray_type type;
  size_t length;
  void *address;
  struct source_wishes wishes = {0};
  if (!succeeded(env, napi_get_cb_info(env, info, &count, arguments, NULL, NULL))) return NULL;
  if (!succeeded(env, napi_is_typedarray(env, arguments[0], &is_typed_array))) return NULL;
  if (is_typed_array &&
      !succeeded(env, napi_get_typedarray_info(env, arguments[0], &type, &length, &address, NULL, NULL))) return NULL;
  if (!is_typed_array || type != napi_uint8_array || (length != 4 && length != 16)) {
    (void)succeeded(env, napi_throw_type_error(env, "ERR_INVALID_ARG_TYPE", "the address must be a Uint8Array of 4 or 16 bytes"));
    return NULL;
  }
  if (!succeeded(env, napi_get_value_uint32(env, arguments[1], &wishes.mark))) return NULL;
  if (!succeeded(env, napi_get_value_bool(env, arguments[2], &wishes.bypass_policy))) return NULL;
  if (count > 3 && !succeeded(env, napi_get_value_bool(env, arguments[3], &wishes.prefers_temporary))) return NULL;

  struct sockaddr_storage to;
  struct sockaddr_storage local;
  struct failure failure;
  const socklen_t to_length = destination(&to, address, length);
  if (!ask_source(&to, to_length, &wishes, &local, &failure)) {
    throw_failure(env, &failure);
    return NULL;
  }
  const void *source = length == 4 ? (const void *)&((const struct sockaddr_in *)&local)->sin_addr
                                   : (const void *)&((const struct sockaddr_in6 *)&local)->sin6_addr;
  void *bytes;
  napi_value buffer;
  napi_value result;
  if (!succeeded(env, napi_create_arraybuffer(env, length, &bytes, &buffer))) return NULL;
  memcpy(bytes, source, length);
  return succeeded(env, napi_create_typedarray(env, napi_uint8_array, length, buffer, 0, &result)) ? result : NULL;
}

/* socketsInExistence(): native sockets of this environment not freed yet, closed ones that wait for the collector included */
static napi_value js_sockets_in_existence(napi_env env, napi_callback_info info) {
  void *data;
  napi_value result;
  if (!succeeded(env, napi_get_cb_info(env, info, NULL, NULL, NULL, &data))) return NULL;
  const struct module *module = data;
  return succeeded(env, napi_create_uint32(env, module->sockets, &result)) ? result : NULL;
}

NAPI_MODULE_INIT() {
  struct module *module = calloc(1, sizeof *module);
  if (module == NULL) {
    throw_failure(env, &(struct failure){ENOMEM, "calloc", NULL});
    return NULL;
  }
  module->env = env;
  module->references = 1;
  if (!succeeded(env, napi_set_instance_data(env, module, on_finalize, NULL))) {
    module_release(module);
    return NULL;
  }
  const napi_property_descriptor functions[] = {
      {"sourceAddress", NULL, js_source_address, NULL, NULL, NULL, napi_enumerable, module},
      {"extendNetlinkSocket", NULL, js_extend_netlink_socket, NULL, NULL, NULL, napi_enumerable, NULL},
      {"netlinkExchange", NULL, js_netlink_exchange, NULL, NULL, NULL, napi_enumerable, NULL},
      {"netlinkDrops", NULL, js_netlink_drops, NULL, NULL, NULL, napi_enumerable, NULL},
      {"socketsInExistence", NULL, js_sockets_in_existence, NULL, NULL, NULL, napi_enumerable, module},
  };
  if (!succeeded(env, napi_add_async_cleanup_hook(env, on_teardown, module, NULL))) return NULL;
  if (!succeeded(env, napi_define_properties(env, exports, sizeof functions / sizeof *functions, functions))) return NULL;
  return socket_define(env, exports, module) ? exports : NULL;
}
