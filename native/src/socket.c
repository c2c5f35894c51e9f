#include "socket.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- life ---- */

static struct udp_socket *socket_new(struct module *module) {
  struct udp_socket *socket = calloc(1, sizeof *socket);
  if (socket == NULL) return NULL;
  socket->module = module;
  socket->references = 1;
  socket->fd = -1;
  socket->queue_end = &socket->queue;
  module->references++;
  module->sockets++;
  return socket;
}

static void socket_release(struct udp_socket *socket) {
  if (--socket->references > 0) return;
  struct module *module = socket->module;
  module->sockets--;
  free(socket);
  module_release(module);
}

static void on_finalize(node_api_basic_env env, void *data, void *hint) {
  (void)env;
  (void)hint;
  socket_release(data);
}

static void on_poll_closed(uv_handle_t *handle) {
  struct udp_socket *socket = handle->data;
  struct module *module = socket->module;
  module->loop_handles--;
  /* The environment waits for this, and is gone right after: nothing of it may be used behind the call. */
  if (module->loop_handles == 0 && module->teardown != NULL) {
    napi_async_cleanup_hook_handle teardown = module->teardown;
    socket_release(socket);
    (void)napi_remove_async_cleanup_hook(teardown);
    return;
  }
  socket_release(socket);
}

static void forget(napi_env env, napi_ref *reference) {
  /* Fails for a NULL argument only. */
  if (*reference != NULL) (void)napi_delete_reference(env, *reference);
  *reference = NULL;
}

void socket_close(struct udp_socket *socket) {
  if (!socket->open) return;
  struct module *module = socket->module;
  socket->open = false;
  if (socket->previous != NULL) socket->previous->next = socket->next;
  else module->first = socket->next;
  if (socket->next != NULL) socket->next->previous = socket->previous;
  /* libuv lets go of the descriptor at once; only its own handle takes until the loop's next turn. */
  uv_close((uv_handle_t *)&socket->poll, on_poll_closed);
  close(socket->fd);
  socket->fd = -1;
  socket_drop_queue(socket);
  forget(module->env, &socket->on_datagrams);
  forget(module->env, &socket->on_errors);
  forget(module->env, &socket->wrapper);
}

/* ---- from the loop into JavaScript ---- */

void raise_uncaught(napi_env env, napi_status status) {
  bool pending = false;
  napi_value error;
  (void)napi_is_exception_pending(env, &pending);
  if (!pending) {
    const napi_extended_error_info *info = NULL;
    napi_value code;
    napi_value message;
    const char *text = "a Node-API call failed";
    if (napi_get_last_error_info(env, &info) == napi_ok && info->error_code == status && info->error_message != NULL) {
      text = info->error_message;
    }
    if (napi_create_string_utf8(env, "ERR_NODE_API", NAPI_AUTO_LENGTH, &code) != napi_ok) return;
    if (napi_create_string_utf8(env, text, NAPI_AUTO_LENGTH, &message) != napi_ok) return;
    if (napi_create_error(env, code, message, &error) != napi_ok) return;
  } else if (napi_get_and_clear_last_exception(env, &error) != napi_ok) {
    return;
  }
  /* Fails only when the environment is being torn down and runs no JavaScript any more. */
  (void)napi_fatal_exception(env, error);
}

void socket_call(struct udp_socket *socket, napi_ref callback, size_t count, const napi_value *arguments) {
  napi_env env = socket->module->env;
  napi_value receiver;
  napi_value function;
  napi_status status = napi_get_reference_value(env, socket->wrapper, &receiver);
  if (status == napi_ok) status = napi_get_reference_value(env, callback, &function);
  /* The receiver must be an object: with undefined every call fails. */
  if (status == napi_ok) status = napi_make_callback(env, NULL, receiver, function, count, arguments, NULL);
  if (status != napi_ok) raise_uncaught(env, status);
}

void socket_report(struct udp_socket *socket, const struct failures *failures) {
  if (failures->kinds == 0) return;
  napi_env env = socket->module->env;
  napi_value errors;
  napi_status status = failures_to_errors(env, failures, &errors);
  if (status == napi_ok) socket_call(socket, socket->on_errors, 1, &errors);
  else raise_uncaught(env, status);
}

static void on_poll(uv_poll_t *poll, int status, int events);

/* Waits for datagrams, and for room to send while some wait for it. 0 or a negative libuv error. */
static int watch(struct udp_socket *socket) {
  return uv_poll_start(&socket->poll, socket->queue == NULL ? UV_READABLE : UV_READABLE | UV_WRITABLE, on_poll);
}

/*
 * libuv stops a poll handle when the kernel flags an error and gives it as EBADF; the true one waits in SO_ERROR, is
 * cleared by reading it, and says nothing about the datagrams to come.
 */
static void on_poll_error(struct udp_socket *socket, int status) {
  struct failures failures = {.syscall = "poll"};
  int number = 0;
  socklen_t length = sizeof number;
  if (getsockopt(socket->fd, SOL_SOCKET, SO_ERROR, &number, &length) != 0) number = errno;
  failures_add(&failures, number == 0 ? -status : number, NULL);
  const int started = watch(socket);
  if (started != 0) failures_add(&failures, -started, NULL);
  socket_report(socket, &failures);
}

static void on_poll(uv_poll_t *poll, int status, int events) {
  struct udp_socket *socket = poll->data;
  napi_env env = socket->module->env;
  napi_handle_scope scope;
  if (napi_open_handle_scope(env, &scope) != napi_ok) return;
  if (status < 0) {
    on_poll_error(socket, status);
  } else {
    if ((events & UV_WRITABLE) != 0) {
      struct failures failures = {.syscall = "sendmmsg"};
      socket_send_queued(socket, &failures);
      const int watched = watch(socket);
      if (watched != 0) failures_add(&failures, -watched, NULL);
      socket_report(socket, &failures);
    }
    /* The report may have closed it. */
    if ((events & UV_READABLE) != 0 && socket->open) socket_receive(socket);
  }
  (void)napi_close_handle_scope(env, scope);
}

/* ---- from JavaScript ---- */

/* The socket behind `this`, or NULL with an error thrown. Methods of a class are called on nothing but its objects. */
static struct udp_socket *unwrap(napi_env env, napi_callback_info info, size_t *count, napi_value *arguments) {
  napi_value receiver;
  void *socket;
  if (!succeeded(env, napi_get_cb_info(env, info, count, arguments, &receiver, NULL))) return NULL;
  return succeeded(env, napi_unwrap(env, receiver, &socket)) ? socket : NULL;
}

static bool number_property(napi_env env, napi_value object, const char *name, double number) {
  napi_value value;
  return succeeded(env, napi_create_double(env, number, &value)) &&
         succeeded(env, napi_set_named_property(env, object, name, value));
}

/* The port the socket got. */
static bool bound_port(int fd, uint16_t *port, struct failure *failure) {
  struct sockaddr_storage local;
  socklen_t length = sizeof local;
  if (getsockname(fd, (struct sockaddr *)&local, &length) != 0) {
    *failure = (struct failure){errno, "getsockname", NULL};
    return false;
  }
  *port = ntohs(local.ss_family == AF_INET ? ((struct sockaddr_in *)&local)->sin_port
                                           : ((struct sockaddr_in6 *)&local)->sin6_port);
  return true;
}

/* Opens the descriptor and puts it into the loop; from then on socket_close() undoes it. */
static bool socket_open(struct udp_socket *socket, const struct socket_options *options, uint16_t *port,
                        struct failure *failure) {
  struct module *module = socket->module;
  uv_loop_t *loop;
  if (napi_get_uv_event_loop(module->env, &loop) != napi_ok) {
    *failure = (struct failure){EINVAL, "napi_get_uv_event_loop", NULL};
    return false;
  }
  if (module->slab == NULL) module->slab = malloc((size_t)BATCH_DATAGRAMS * DATAGRAM_MAXIMUM);
  if (module->slab == NULL) {
    *failure = (struct failure){ENOMEM, "malloc", NULL};
    return false;
  }
  const int fd = options_open(options, failure);
  if (fd < 0) return false;
  if (!bound_port(fd, port, failure)) {
    close(fd);
    return false;
  }
  const int initialized = uv_poll_init(loop, &socket->poll, fd);
  if (initialized != 0) {
    close(fd);
    *failure = (struct failure){-initialized, "uv_poll_init", NULL};
    return false;
  }
  socket->poll.data = socket;
  socket->references++;
  module->loop_handles++;
  socket->fd = fd;
  socket->open = true;
  socket->next = module->first;
  if (module->first != NULL) module->first->previous = socket;
  module->first = socket;
  const int started = watch(socket);
  if (started == 0) return true;
  *failure = (struct failure){-started, "uv_poll_start", NULL};
  return false;
}

static bool is_function(napi_env env, napi_value value) {
  napi_valuetype type;
  if (!succeeded(env, napi_typeof(env, value, &type))) return false;
  if (type == napi_function) return true;
  (void)succeeded(env, napi_throw_type_error(env, "ERR_INVALID_ARG_TYPE", "the callbacks must be functions"));
  return false;
}

/* new UdpSocket(options, onDatagrams, onErrors) */
static napi_value js_construct(napi_env env, napi_callback_info info) {
  size_t count = 3;
  napi_value arguments[3];
  napi_value receiver;
  napi_value target;
  void *data;
  struct socket_options options;
  if (!succeeded(env, napi_get_cb_info(env, info, &count, arguments, &receiver, &data))) return NULL;
  if (!succeeded(env, napi_get_new_target(env, info, &target))) return NULL;
  if (target == NULL) {
    (void)succeeded(env, napi_throw_type_error(env, "ERR_CONSTRUCT_CALL_REQUIRED", "UdpSocket must be called with new"));
    return NULL;
  }
  if (!options_read(env, arguments[0], &options)) return NULL;
  if (!is_function(env, arguments[1]) || !is_function(env, arguments[2])) return NULL;

  struct udp_socket *socket = socket_new(data);
  if (socket == NULL) {
    throw_failure(env, &(struct failure){ENOMEM, "calloc", NULL});
    return NULL;
  }
  socket->family = options.family == AF_INET ? 4 : 6;
  socket->joins = options.udp_gro;
  socket->maximum = options.maximum;
  if (!succeeded(env, napi_wrap(env, receiver, socket, on_finalize, NULL, NULL))) {
    socket_release(socket);
    return NULL;
  }
  /* From here on the finalizer releases it. */
  struct failure failure;
  uint16_t port;
  if (!socket_open(socket, &options, &port, &failure)) {
    socket_close(socket);
    throw_failure(env, &failure);
    return NULL;
  }
  if (!succeeded(env, napi_create_reference(env, receiver, 1, &socket->wrapper)) ||
      !succeeded(env, napi_create_reference(env, arguments[1], 1, &socket->on_datagrams)) ||
      !succeeded(env, napi_create_reference(env, arguments[2], 1, &socket->on_errors)) ||
      !number_property(env, receiver, "family", socket->family) || !number_property(env, receiver, "port", port)) {
    socket_close(socket);
    return NULL;
  }
  return receiver;
}

/* Checks everything before anything is sent: the caller gets all or an error. */
static bool batch_is_sound(napi_env env, const struct udp_socket *socket, const uint8_t *batch, size_t size,
                           uint32_t count) {
  bool sound = (uint64_t)count * RECORD_BYTES <= size;
  for (uint32_t at = 0; at < count && sound; at++) {
    struct record record;
    record_read(batch + (size_t)at * RECORD_BYTES, &record);
    sound = record.length <= DATAGRAM_MAXIMUM && (uint64_t)record.offset + record.length <= size;
    if (sound && record.family != socket->family) {
      throw_failure(env, &(struct failure){EAFNOSUPPORT, "sendmmsg", NULL});
      return false;
    }
  }
  if (!sound) (void)succeeded(env, napi_throw_range_error(env, "ERR_OUT_OF_RANGE", "a record points outside of its batch"));
  return sound;
}

/* send(batch, count): undefined, or an array of errors */
static napi_value js_send(napi_env env, napi_callback_info info) {
  size_t argument_count = 2;
  napi_value arguments[2];
  bool is_typed_array = false;
  napi_typedarray_type type;
  size_t size;
  void *batch;
  uint32_t count;
  struct udp_socket *socket = unwrap(env, info, &argument_count, arguments);
  if (socket == NULL) return NULL;
  if (!succeeded(env, napi_is_typedarray(env, arguments[0], &is_typed_array))) return NULL;
  if (is_typed_array &&
      !succeeded(env, napi_get_typedarray_info(env, arguments[0], &type, &size, &batch, NULL, NULL))) return NULL;
  if (!is_typed_array || type != napi_uint8_array) {
    (void)succeeded(env, napi_throw_type_error(env, "ERR_INVALID_ARG_TYPE", "the batch must be a Uint8Array"));
    return NULL;
  }
  if (!succeeded(env, napi_get_value_uint32(env, arguments[1], &count))) return NULL;
  if (!socket->open) {
    (void)succeeded(env, napi_throw_error(env, "ERR_SOCKET_CLOSED", "the socket is closed"));
    return NULL;
  }
  if (!batch_is_sound(env, socket, batch, size, count)) return NULL;

  struct failures failures = {.syscall = "sendmmsg"};
  const bool waiting = socket->queue != NULL;
  socket_send_batch(socket, batch, count, &failures);
  if (!waiting && socket->queue != NULL) {
    const int watched = watch(socket);
    if (watched != 0) failures_add(&failures, -watched, NULL);
  }
  napi_value errors;
  return failures.kinds > 0 && succeeded(env, failures_to_errors(env, &failures, &errors)) ? errors : NULL;
}

/* close(): undefined */
static napi_value js_close(napi_env env, napi_callback_info info) {
  size_t count = 0;
  struct udp_socket *socket = unwrap(env, info, &count, NULL);
  if (socket != NULL) socket_close(socket);
  return NULL;
}

/* leaveOpen(): its descriptor, which from now on outlives exec() */
static napi_value js_leave_open(napi_env env, napi_callback_info info) {
  size_t count = 0;
  napi_value result;
  const struct udp_socket *socket = unwrap(env, info, &count, NULL);
  if (socket == NULL) return NULL;
  if (!socket->open) {
    (void)succeeded(env, napi_throw_error(env, "ERR_SOCKET_CLOSED", "the socket is closed"));
    return NULL;
  }
  if (fcntl(socket->fd, F_SETFD, 0) != 0) {
    throw_failure(env, &(struct failure){errno, "fcntl", NULL});
    return NULL;
  }
  return succeeded(env, napi_create_int32(env, socket->fd, &result)) ? result : NULL;
}

/* counters(): an object of numbers */
static napi_value js_counters(napi_env env, napi_callback_info info) {
  size_t count = 0;
  napi_value result;
  const struct udp_socket *socket = unwrap(env, info, &count, NULL);
  if (socket == NULL || !succeeded(env, napi_create_object(env, &result))) return NULL;
  const struct counters *counters = &socket->counters;
  const bool complete = number_property(env, result, "received", (double)counters->received) &&
                        number_property(env, result, "discarded", (double)counters->discarded) &&
                        number_property(env, result, "sent", (double)counters->sent) &&
                        number_property(env, result, "failed", (double)counters->failed) &&
                        number_property(env, result, "dropped", (double)counters->dropped) &&
                        number_property(env, result, "queued", socket->queue_datagrams);
  return complete ? result : NULL;
}

bool socket_define(napi_env env, napi_value exports, struct module *module) {
  const napi_property_descriptor methods[] = {
      {"send", NULL, js_send, NULL, NULL, NULL, napi_default_method, NULL},
      {"close", NULL, js_close, NULL, NULL, NULL, napi_default_method, NULL},
      {"leaveOpen", NULL, js_leave_open, NULL, NULL, NULL, napi_default_method, NULL},
      {"counters", NULL, js_counters, NULL, NULL, NULL, napi_default_method, NULL},
  };
  napi_value constructor;
  return succeeded(env, napi_define_class(env, "UdpSocket", NAPI_AUTO_LENGTH, js_construct, module,
                                          sizeof methods / sizeof *methods, methods, &constructor)) &&
         succeeded(env, napi_set_named_property(env, exports, "UdpSocket", constructor));
}
