/* From failed calls to JavaScript errors. */
#ifndef ESPALIER_ERRORS_H
#define ESPALIER_ERRORS_H

#include <node_api.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

/* A failed system call. `option` is the socket option it was about, or NULL. */
struct failure {
  int number; /* errno, positive */
  const char *syscall;
  const char *option;
};

/* Failures of one kind while a batch was sent or received. */
struct counted_failure {
  int number;
  uint32_t count;
  struct sockaddr_storage remote; /* of the first one; ss_family 0 when there is none */
};

/* More kinds than these in one batch are counted under the last one. */
#define FAILURE_KINDS 8

struct failures {
  const char *syscall;
  size_t kinds;
  struct counted_failure of[FAILURE_KINDS];
};

/* Adds one failure; `remote` may be NULL. */
void failures_add(struct failures *failures, int number, const struct sockaddr_storage *remote);

/*
 * An Error shaped like Node's own system errors: `code` ('EPERM'), `errno` (negative, as util.getSystemErrorName wants
 * it), `syscall`, and `option` ('UDP_ENCAP') where the call set a socket option.
 */
napi_status failure_to_error(napi_env env, const struct failure *failure, napi_value *error);

/* An array of Errors as above, each with `count` and, where it is known, the `address` and `port` of the first remote. */
napi_status failures_to_errors(napi_env env, const struct failures *failures, napi_value *errors);

void throw_failure(napi_env env, const struct failure *failure);

/*
 * True for napi_ok. Anything else becomes a thrown Error with code 'ERR_NODE_API', unless one is pending already; to be
 * used in functions called from JavaScript only.
 */
bool succeeded(napi_env env, napi_status status);

#endif
