#include "errors.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <uv.h>

void failures_add(struct failures *failures, int number, const struct sockaddr_storage *remote) {
  size_t at = 0;
  while (at < failures->kinds && failures->of[at].number != number) at++;
  if (at == FAILURE_KINDS) at--;
  struct counted_failure *kind = &failures->of[at];
  if (at == failures->kinds) {
    failures->kinds++;
    kind->number = number;
    kind->count = 0;
    memset(&kind->remote, 0, sizeof kind->remote);
    if (remote != NULL) kind->remote = *remote;
  }
  kind->count++;
}

static napi_status set_string(napi_env env, napi_value object, const char *name, const char *text) {
  napi_value value;
  napi_status status = napi_create_string_utf8(env, text, NAPI_AUTO_LENGTH, &value);
  return status == napi_ok ? napi_set_named_property(env, object, name, value) : status;
}

static napi_status set_number(napi_env env, napi_value object, const char *name, double number) {
  napi_value value;
  napi_status status = napi_create_double(env, number, &value);
  return status == napi_ok ? napi_set_named_property(env, object, name, value) : status;
}

napi_status failure_to_error(napi_env env, const struct failure *failure, napi_value *error) {
  /* On Linux libuv's error numbers are negated errno values. */
  char code[64];
  char reason[128];
  char message[320];
  uv_err_name_r(-failure->number, code, sizeof code);
  uv_strerror_r(-failure->number, reason, sizeof reason);
  snprintf(message, sizeof message, "%s: %s, %s%s%s", code, reason, failure->syscall, failure->option == NULL ? "" : " ",
           failure->option == NULL ? "" : failure->option);

  napi_value code_value;
  napi_value message_value;
  napi_status status = napi_create_string_utf8(env, code, NAPI_AUTO_LENGTH, &code_value);
  if (status == napi_ok) status = napi_create_string_utf8(env, message, NAPI_AUTO_LENGTH, &message_value);
  if (status == napi_ok) status = napi_create_error(env, code_value, message_value, error);
  if (status == napi_ok) status = set_number(env, *error, "errno", -failure->number);
  if (status == napi_ok) status = set_string(env, *error, "syscall", failure->syscall);
  if (status == napi_ok && failure->option != NULL) status = set_string(env, *error, "option", failure->option);
  return status;
}

static napi_status set_remote(napi_env env, napi_value error, const struct sockaddr_storage *remote) {
  char text[INET6_ADDRSTRLEN];
  const struct sockaddr_in *v4 = (const struct sockaddr_in *)remote;
  const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)remote;
  bool is_v4 = remote->ss_family == AF_INET;
  const void *address = is_v4 ? (const void *)&v4->sin_addr : (const void *)&v6->sin6_addr;
  if (inet_ntop(remote->ss_family, address, text, sizeof text) == NULL) return napi_generic_failure;
  napi_status status = set_string(env, error, "address", text);
  if (status == napi_ok) status = set_number(env, error, "port", ntohs(is_v4 ? v4->sin_port : v6->sin6_port));
  return status;
}

napi_status failures_to_errors(napi_env env, const struct failures *failures, napi_value *errors) {
  napi_status status = napi_create_array_with_length(env, failures->kinds, errors);
  for (size_t at = 0; at < failures->kinds && status == napi_ok; at++) {
    const struct counted_failure *kind = &failures->of[at];
    const struct failure failure = {kind->number, failures->syscall, NULL};
    napi_value error;
    status = failure_to_error(env, &failure, &error);
    if (status == napi_ok) status = set_number(env, error, "count", kind->count);
    if (status == napi_ok && kind->remote.ss_family != 0) status = set_remote(env, error, &kind->remote);
    if (status == napi_ok) status = napi_set_element(env, *errors, (uint32_t)at, error);
  }
  return status;
}

void throw_failure(napi_env env, const struct failure *failure) {
  napi_value error;
  if (succeeded(env, failure_to_error(env, failure, &error))) succeeded(env, napi_throw(env, error));
}

bool succeeded(napi_env env, napi_status status) {
  if (status == napi_ok) return true;
  /* Read before the next call on this environment replaces it. */
  const napi_extended_error_info *info = NULL;
  const char *message = NULL;
  if (napi_get_last_error_info(env, &info) == napi_ok) message = info->error_message;
  bool pending = false;
  if (napi_is_exception_pending(env, &pending) == napi_ok && !pending) {
    /* Fails only when the environment cannot run JavaScript any more; then there is nobody left to tell. */
    (void)napi_throw_error(env, "ERR_NODE_API", message == NULL ? "a Node-API call failed" : message);
  }
  return false;
}
