#include "socket.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Messages under way to sendmmsg, with what they point to. */
struct outgoing {
  struct mmsghdr messages[BATCH_DATAGRAMS];
  struct envelope envelopes[BATCH_DATAGRAMS];
};

static void outgoing_set(struct outgoing *outgoing, size_t at, const struct record *record, const uint8_t *bytes) {
  struct envelope *envelope = &outgoing->envelopes[at];
  outgoing->messages[at].msg_len = 0;
  envelope_address(envelope, &outgoing->messages[at].msg_hdr, record);
  /* sendmsg only reads it. */
  envelope->iov.iov_base = (uint8_t *)(uintptr_t)bytes;
  envelope->iov.iov_len = record->length;
}

/* How many of the first `count` messages are dealt with, sent or refused; fewer than `count` when the buffer is full. */
static size_t transmit(struct udp_socket *socket, struct outgoing *outgoing, size_t count, struct failures *failures) {
  size_t done = 0;
  while (done < count) {
    const int sent = sendmmsg(socket->fd, outgoing->messages + done, (unsigned)(count - done), MSG_DONTWAIT);
    if (sent >= 0) {
      done += (size_t)sent;
      socket->counters.sent += (uint64_t)sent;
    } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
      break;
    } else if (errno != EINTR) {
      /* sendmmsg tells only of an error of the first message it was given; those after it are tried for themselves. */
      failures_add(failures, errno, &outgoing->envelopes[done].remote);
      socket->counters.failed++;
      done++;
    }
  }
  return done;
}

static void drop(struct udp_socket *socket, int number, const struct record *record, struct failures *failures) {
  struct envelope envelope;
  struct msghdr message;
  envelope_address(&envelope, &message, record);
  failures_add(failures, number, &envelope.remote);
  socket->counters.dropped++;
}

static void enqueue(struct udp_socket *socket, const struct record *record, const uint8_t *bytes,
                    struct failures *failures) {
  if (socket->queue_datagrams == SEND_QUEUE_DATAGRAMS || record->length > SEND_QUEUE_BYTES - socket->queue_bytes) {
    drop(socket, ENOBUFS, record, failures);
    return;
  }
  struct queued_datagram *datagram = malloc(sizeof *datagram + record->length);
  if (datagram == NULL) {
    drop(socket, ENOMEM, record, failures);
    return;
  }
  datagram->next = NULL;
  datagram->record = *record;
  memcpy(datagram->bytes, bytes, record->length);
  *socket->queue_end = datagram;
  socket->queue_end = &datagram->next;
  socket->queue_datagrams++;
  socket->queue_bytes += record->length;
}

void socket_send_batch(struct udp_socket *socket, const uint8_t *batch, uint32_t count, struct failures *failures) {
  /* Later datagrams do not overtake those that wait. */
  bool full = socket->queue != NULL;
  struct outgoing outgoing;
  for (uint32_t first = 0; first < count; first += BATCH_DATAGRAMS) {
    const size_t part = count - first < BATCH_DATAGRAMS ? count - first : BATCH_DATAGRAMS;
    struct record records[BATCH_DATAGRAMS];
    for (size_t at = 0; at < part; at++) {
      record_read(batch + (first + at) * RECORD_BYTES, &records[at]);
      outgoing_set(&outgoing, at, &records[at], batch + records[at].offset);
    }
    const size_t done = full ? 0 : transmit(socket, &outgoing, part, failures);
    full = done < part;
    for (size_t at = done; at < part; at++) enqueue(socket, &records[at], batch + records[at].offset, failures);
  }
}

static void dequeue(struct udp_socket *socket) {
  struct queued_datagram *datagram = socket->queue;
  socket->queue = datagram->next;
  if (socket->queue == NULL) socket->queue_end = &socket->queue;
  socket->queue_datagrams--;
  socket->queue_bytes -= datagram->record.length;
  free(datagram);
}

void socket_send_queued(struct udp_socket *socket, struct failures *failures) {
  struct outgoing outgoing;
  size_t part;
  size_t done;
  do {
    part = 0;
    for (struct queued_datagram *at = socket->queue; at != NULL && part < BATCH_DATAGRAMS; at = at->next) {
      outgoing_set(&outgoing, part++, &at->record, at->bytes);
    }
    done = transmit(socket, &outgoing, part, failures);
    for (size_t at = 0; at < done; at++) dequeue(socket);
  } while (done == part && socket->queue != NULL);
}

void socket_drop_queue(struct udp_socket *socket) {
  socket->counters.dropped += socket->queue_datagrams;
  while (socket->queue != NULL) dequeue(socket);
}
