/*
 * A batch: datagrams with their addresses in one Uint8Array, the form in which they cross the boundary to JavaScript in
 * both directions. First `count` records of 48 bytes each, then the payloads; numbers are in network byte order.
 *
 *    0                   1                   2                   3
 *    0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
 *   +---------------------------------------------------------------+
 *   |        offset of the payload from the start of the batch      |  0
 *   |                     length of the payload                     |  4
 *   |          remote port          |   family: 4/6 |      zero     |  8
 *   |           interface index, 0 when it does not matter          | 12
 *   |  remote address: 16 bytes, an IPv4 address takes the first 4  | 16
 *   |  local address: the same; all zero on sending: kernel's choice| 32
 *   +---------------------------------------------------------------+
 */
#ifndef ESPALIER_BATCH_H
#define ESPALIER_BATCH_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#define RECORD_BYTES 48

struct record {
  uint32_t offset;
  uint32_t length;
  uint16_t port; /* host order */
  uint8_t family; /* 4 or 6 */
  uint32_t interface_index;
  uint8_t remote[16];
  uint8_t local[16];
};

/* Room for the one control message a datagram is sent or the few it is received with. */
union control {
  struct cmsghdr align;
  uint8_t bytes[CMSG_SPACE(sizeof(struct in6_pktinfo)) + CMSG_SPACE(sizeof(int))];
};

void record_write(uint8_t at[RECORD_BYTES], const struct record *record);
void record_read(const uint8_t at[RECORD_BYTES], struct record *record);

/*
 * Fills remote, local, port, family and interface index from a received message, and `segment` with the size of the
 * datagrams the kernel joined in it (UDP_GRO), 0 when it joined none. False when the message does not say where it was
 * sent to.
 */
bool record_from_message(struct record *record, struct msghdr *message, uint32_t *segment);

/* Where a datagram goes and where it comes from, as sendmsg wants it. `iov` is the caller's to fill. */
struct envelope {
  struct sockaddr_storage remote;
  union control control;
  struct iovec iov;
};

/* Addresses `envelope` as `record` says and makes `message` refer to it. */
void envelope_address(struct envelope *envelope, struct msghdr *message, const struct record *record);

#endif
