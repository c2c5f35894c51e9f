#include "batch.h"

#include <netinet/udp.h>
#include <string.h>

static void put_u32(uint8_t *at, uint32_t value) {
  const uint32_t network = htonl(value);
  memcpy(at, &network, sizeof network);
}

static uint32_t get_u32(const uint8_t *at) {
  uint32_t network;
  memcpy(&network, at, sizeof network);
  return ntohl(network);
}

void record_write(uint8_t at[RECORD_BYTES], const struct record *record) {
  put_u32(at, record->offset);
  put_u32(at + 4, record->length);
  put_u32(at + 8, (uint32_t)record->port << 16 | (uint32_t)record->family << 8);
  put_u32(at + 12, record->interface_index);
  memcpy(at + 16, record->remote, 16);
  memcpy(at + 32, record->local, 16);
}

void record_read(const uint8_t at[RECORD_BYTES], struct record *record) {
  const uint32_t port_and_family = get_u32(at + 8);
  record->offset = get_u32(at);
  record->length = get_u32(at + 4);
  record->port = (uint16_t)(port_and_family >> 16);
  record->family = (uint8_t)(port_and_family >> 8);
  record->interface_index = get_u32(at + 12);
  memcpy(record->remote, at + 16, 16);
  memcpy(record->local, at + 32, 16);
}

/* True when `header` is of this kind and has its `size`; copies the contents, which need not be aligned. */
static bool control_is(const struct cmsghdr *header, int level, int type, void *into, size_t size) {
  if (header->cmsg_level != level || header->cmsg_type != type || header->cmsg_len < CMSG_LEN(size)) return false;
  memcpy(into, CMSG_DATA(header), size);
  return true;
}

bool record_from_message(struct record *record, struct msghdr *message, uint32_t *segment) {
  const struct sockaddr_storage *from = message->msg_name;
  memset(record, 0, sizeof *record);
  *segment = 0;
  if (from->ss_family == AF_INET) {
    const struct sockaddr_in *v4 = (const struct sockaddr_in *)from;
    record->family = 4;
    record->port = ntohs(v4->sin_port);
    memcpy(record->remote, &v4->sin_addr, 4);
  } else {
    const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)from;
    record->family = 6;
    record->port = ntohs(v6->sin6_port);
    memcpy(record->remote, &v6->sin6_addr, 16);
  }

  bool local_known = false;
  for (struct cmsghdr *header = CMSG_FIRSTHDR(message); header != NULL; header = CMSG_NXTHDR(message, header)) {
    struct in_pktinfo v4;
    struct in6_pktinfo v6;
    int size;
    if (control_is(header, IPPROTO_IP, IP_PKTINFO, &v4, sizeof v4)) {
      /* ipi_addr is the destination in the IP header, which is what NAT detection hashes (RFC 7296 2.23). */
      memcpy(record->local, &v4.ipi_addr, 4);
      record->interface_index = (uint32_t)v4.ipi_ifindex;
      local_known = true;
    } else if (control_is(header, IPPROTO_IPV6, IPV6_PKTINFO, &v6, sizeof v6)) {
      memcpy(record->local, &v6.ipi6_addr, 16);
      record->interface_index = v6.ipi6_ifindex;
      local_known = true;
    } else if (control_is(header, IPPROTO_UDP, UDP_GRO, &size, sizeof size) && size > 0) {
      *segment = (uint32_t)size;
    }
  }
  return local_known;
}

static void put_control(struct msghdr *message, union control *control, int level, int type, const void *value,
                        size_t size) {
  memset(control, 0, sizeof *control);
  message->msg_control = control->bytes;
  message->msg_controllen = CMSG_SPACE(size);
  struct cmsghdr *header = CMSG_FIRSTHDR(message);
  header->cmsg_level = level;
  header->cmsg_type = type;
  header->cmsg_len = CMSG_LEN(size);
  memcpy(CMSG_DATA(header), value, size);
}

void envelope_address(struct envelope *envelope, struct msghdr *message, const struct record *record) {
  static const uint8_t unspecified[16];
  const bool chosen = memcmp(record->local, unspecified, sizeof unspecified) != 0;
  memset(message, 0, sizeof *message);
  memset(&envelope->remote, 0, sizeof envelope->remote);
  message->msg_name = &envelope->remote;
  message->msg_iov = &envelope->iov;
  message->msg_iovlen = 1;
  if (record->family == 4) {
    struct sockaddr_in *to = (struct sockaddr_in *)&envelope->remote;
    struct in_pktinfo from = {.ipi_ifindex = (int)record->interface_index};
    to->sin_family = AF_INET;
    to->sin_port = htons(record->port);
    memcpy(&to->sin_addr, record->remote, 4);
    memcpy(&from.ipi_spec_dst, record->local, 4);
    message->msg_namelen = sizeof *to;
    if (chosen || from.ipi_ifindex != 0) {
      put_control(message, &envelope->control, IPPROTO_IP, IP_PKTINFO, &from, sizeof from);
    }
  } else {
    struct sockaddr_in6 *to = (struct sockaddr_in6 *)&envelope->remote;
    /* Names the scope of a link-local destination, too. */
    struct in6_pktinfo from = {.ipi6_ifindex = record->interface_index};
    to->sin6_family = AF_INET6;
    to->sin6_port = htons(record->port);
    memcpy(&to->sin6_addr, record->remote, 16);
    memcpy(&from.ipi6_addr, record->local, 16);
    message->msg_namelen = sizeof *to;
    if (chosen || from.ipi6_ifindex != 0) {
      put_control(message, &envelope->control, IPPROTO_IPV6, IPV6_PKTINFO, &from, sizeof from);
    }
  }
}
