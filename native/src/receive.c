#include "socket.h"

#include <errno.h>
#include <string.h>

/* One message of recvmmsg, which with UDP_GRO may be several datagrams of one sender joined together. */
struct arrival {
  struct record record;
  const uint8_t *bytes;
  uint32_t length;
  uint32_t segment; /* size of all the datagrams in it but the last, which may be smaller; at least 1 */
};

static uint32_t datagram_length(const struct arrival *arrival, uint32_t offset) {
  const uint32_t left = arrival->length - offset;
  return left < arrival->segment ? left : arrival->segment;
}

/* Writes the batch out, or with `batch` NULL only finds out its size. */
static void split(const struct udp_socket *socket, const struct arrival *arrivals, size_t arrival_count, uint8_t *batch,
                  uint32_t records, uint32_t *datagram_count, uint32_t *payload_bytes, uint64_t *discarded) {
  *datagram_count = 0;
  *payload_bytes = 0;
  *discarded = 0;
  for (size_t at = 0; at < arrival_count; at++) {
    const struct arrival *arrival = &arrivals[at];
    uint32_t offset = 0;
    do {
      struct record record = arrival->record;
      record.length = datagram_length(arrival, offset);
      if (record.length > socket->maximum) {
        ++*discarded;
      } else {
        record.offset = records * RECORD_BYTES + *payload_bytes;
        if (batch != NULL) {
          record_write(batch + *datagram_count * RECORD_BYTES, &record);
          memcpy(batch + record.offset, arrival->bytes + offset, record.length);
        }
        *payload_bytes += record.length;
        ++*datagram_count;
      }
      offset += record.length;
    } while (offset < arrival->length);
  }
}

static void deliver(struct udp_socket *socket, const struct arrival *arrivals, size_t arrival_count) {
  napi_env env = socket->module->env;
  uint32_t count;
  uint32_t payload_bytes;
  uint64_t discarded;
  split(socket, arrivals, arrival_count, NULL, 0, &count, &payload_bytes, &discarded);
  socket->counters.discarded += discarded;
  if (count == 0) return;

  const size_t size = (size_t)count * RECORD_BYTES + payload_bytes;
  void *batch;
  napi_value buffer;
  napi_value arguments[2];
  napi_status status = napi_create_arraybuffer(env, size, &batch, &buffer);
  if (status == napi_ok) status = napi_create_typedarray(env, napi_uint8_array, size, buffer, 0, &arguments[0]);
  if (status == napi_ok) status = napi_create_uint32(env, count, &arguments[1]);
  if (status != napi_ok) {
    socket->counters.discarded += count;
    raise_uncaught(env, status);
    return;
  }
  split(socket, arrivals, arrival_count, batch, count, &count, &payload_bytes, &discarded);
  socket->counters.received += count;
  socket_call(socket, socket->on_datagrams, 2, arguments);
}

/* The number of messages received, or -1 and errno; the `usable` ones among them are in `arrivals`. */
static int receive(struct udp_socket *socket, struct arrival *arrivals, size_t *usable) {
  struct mmsghdr messages[BATCH_DATAGRAMS];
  struct sockaddr_storage remotes[BATCH_DATAGRAMS];
  union control controls[BATCH_DATAGRAMS];
  struct iovec iovs[BATCH_DATAGRAMS];
  memset(messages, 0, sizeof messages);
  for (size_t at = 0; at < BATCH_DATAGRAMS; at++) {
    /* With UDP_GRO a message may be longer than its datagrams: their size is looked at when they are split. */
    iovs[at].iov_base = socket->module->slab + at * DATAGRAM_MAXIMUM;
    iovs[at].iov_len = socket->joins ? DATAGRAM_MAXIMUM : socket->maximum;
    struct msghdr *header = &messages[at].msg_hdr;
    header->msg_name = &remotes[at];
    header->msg_namelen = sizeof remotes[at];
    header->msg_iov = &iovs[at];
    header->msg_iovlen = 1;
    header->msg_control = controls[at].bytes;
    header->msg_controllen = sizeof controls[at].bytes;
  }
  const int count = recvmmsg(socket->fd, messages, BATCH_DATAGRAMS, MSG_DONTWAIT, NULL);
  *usable = 0;
  for (int at = 0; at < count; at++) {
    struct arrival *arrival = &arrivals[*usable];
    struct msghdr *header = &messages[at].msg_hdr;
    uint32_t segment;
    if ((header->msg_flags & MSG_TRUNC) != 0 || !record_from_message(&arrival->record, header, &segment)) {
      socket->counters.discarded++;
      continue;
    }
    arrival->bytes = iovs[at].iov_base;
    arrival->length = messages[at].msg_len;
    arrival->segment = segment == 0 ? DATAGRAM_MAXIMUM : segment;
    ++*usable;
  }
  return count;
}

void socket_receive(struct udp_socket *socket) {
  struct arrival arrivals[BATCH_DATAGRAMS];
  struct failures failures = {.syscall = "recvmmsg"};
  for (int batch = 0; batch < BATCHES_PER_WAKE && socket->open; batch++) {
    size_t usable;
    const int count = receive(socket, arrivals, &usable);
    if (count < 0) {
      if (errno == EAGAIN || errno == EWOULDBLOCK) break;
      /* Errors here are about the past (an ICMP message, say), not about the datagrams that wait behind them. */
      if (errno != EINTR) failures_add(&failures, errno, NULL);
      continue;
    }
    if (usable > 0) deliver(socket, arrivals, usable);
    if (count < BATCH_DATAGRAMS) break;
  }
  if (socket->open) socket_report(socket, &failures);
}
