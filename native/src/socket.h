/* A UDP socket in the event loop of one JavaScript environment (the main thread's or a worker's). */
#ifndef ESPALIER_SOCKET_H
#define ESPALIER_SOCKET_H

#include <node_api.h>
#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "batch.h"
#include "errors.h"
#include "options.h"

/* Datagrams per recvmmsg and sendmmsg. */
#define BATCH_DATAGRAMS 32
/* recvmmsg calls per wake-up; what is left then waits for the loop's next turn, so that a flood starves nobody. */
#define BATCHES_PER_WAKE 4
/* Datagrams and bytes that wait for room in the kernel's send buffer, per socket; what comes on top is dropped. */
#define SEND_QUEUE_DATAGRAMS 1024
#define SEND_QUEUE_BYTES (4 * 1024 * 1024)

/*
 * What one environment has of this addon. There is no static state: every worker thread has its own. It lives until the
 * instance data is finalized and the last socket is freed, whichever comes later.
 */
struct module {
  napi_env env;
  uint32_t references;
  struct udp_socket *first;                /* open sockets */
  uint32_t loop_handles;                   /* poll handles the loop has not let go of */
  uint32_t sockets;                        /* struct udp_socket in existence */
  napi_async_cleanup_hook_handle teardown; /* not NULL once the environment is being torn down */
  uint8_t *slab;                           /* BATCH_DATAGRAMS times DATAGRAM_MAXIMUM bytes to receive into */
};

struct queued_datagram {
  struct queued_datagram *next;
  struct record record;
  uint8_t bytes[];
};

struct counters {
  uint64_t received;  /* datagrams delivered */
  uint64_t discarded; /* too large, or without the address they were sent to */
  uint64_t sent;      /* handed to the kernel */
  uint64_t failed;    /* refused by the kernel */
  uint64_t dropped;   /* found the send queue full, or were in it when the socket was closed */
};

struct udp_socket {
  struct module *module;
  struct udp_socket *next;
  struct udp_socket *previous;
  uint32_t references; /* the JavaScript object's and the loop's */
  bool open;
  int fd;
  uint8_t family; /* 4 or 6 */
  bool joins;     /* UDP_GRO: the kernel may hand over several datagrams as one */
  uint32_t maximum;
  uv_poll_t poll;
  /* Strong while the socket is open: it stays alive without anyone but the loop knowing it. */
  napi_ref wrapper;
  napi_ref on_datagrams;
  napi_ref on_errors;
  struct queued_datagram *queue;
  struct queued_datagram **queue_end;
  uint32_t queue_datagrams;
  size_t queue_bytes;
  struct counters counters;
};

void module_release(struct module *module);

/* Defines the class UdpSocket on `exports`. */
bool socket_define(napi_env env, napi_value exports, struct module *module);

/* Safe to call again. The port is free when it returns. */
void socket_close(struct udp_socket *socket);

/* Calls a callback of the socket with the socket as receiver; what it throws becomes an uncaughtException. */
void socket_call(struct udp_socket *socket, napi_ref callback, size_t count, const napi_value *arguments);

/* Hands `failures` to the socket's error callback, if there are any. */
void socket_report(struct udp_socket *socket, const struct failures *failures);

/* For what goes wrong where no JavaScript caller is there to throw to: an uncaughtException. */
void raise_uncaught(napi_env env, napi_status status);

/* ---- receive.c ---- */

void socket_receive(struct udp_socket *socket);

/* ---- send.c ---- */

/*
 * Sends `count` datagrams of a batch that was checked. What finds the send buffer full is copied and waits, in order;
 * what the kernel refuses is added to `failures` and does not hold up the rest.
 */
void socket_send_batch(struct udp_socket *socket, const uint8_t *batch, uint32_t count, struct failures *failures);
/* Sends what waited. */
void socket_send_queued(struct udp_socket *socket, struct failures *failures);
void socket_drop_queue(struct udp_socket *socket);

#endif
