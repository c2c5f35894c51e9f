/*
 * Sends TOTAL bytes to ADDRESS PORT from a socket with UDP_SEGMENT set to SIZE: one send, datagrams of SIZE bytes and a
 * rest. Byte i of all has the value i % 251. On the loopback interface they stay together up to a receiver with UDP_GRO.
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int main(int count, char **arguments) {
  static unsigned char bytes[65535];
  struct sockaddr_in v4 = {.sin_family = AF_INET};
  struct sockaddr_in6 v6 = {.sin6_family = AF_INET6};
  if (count != 5) return 2;
  const int is_v4 = inet_pton(AF_INET, arguments[1], &v4.sin_addr) == 1;
  if (!is_v4 && inet_pton(AF_INET6, arguments[1], &v6.sin6_addr) != 1) return 2;
  v4.sin_port = v6.sin6_port = htons((unsigned short)atoi(arguments[2]));
  const int size = atoi(arguments[3]);
  const size_t total = (size_t)atoi(arguments[4]);
  for (size_t at = 0; at < total && at < sizeof bytes; at++) bytes[at] = (unsigned char)(at % 251);
  const int fd = socket(is_v4 ? AF_INET : AF_INET6, SOCK_DGRAM, 0);
  const struct sockaddr *to = is_v4 ? (struct sockaddr *)&v4 : (struct sockaddr *)&v6;
  if (fd < 0 || setsockopt(fd, IPPROTO_UDP, UDP_SEGMENT, &size, sizeof size) != 0 ||
      sendto(fd, bytes, total, 0, to, is_v4 ? sizeof v4 : sizeof v6) != (ssize_t)total) {
    perror("udp-segments");
    return 1;
  }
  return 0;
}
