/**
 * Loads the addon of native/ and gives it types; docs/native.md describes it. Addresses are raw bytes here, 4 or 16 of
 * them; edge/udp.ts and edge/netlink.ts use this.
 */
import { existsSync } from 'node:fs'
import { createRequire } from 'node:module'
import { fileURLToPath } from 'node:url'

import { EspalierError, messageOf } from '../base/errors.ts'

/** What every failed call of the addon is: Node's own shape of a system error, with the socket option it was about. */
export interface NativeError extends Error {
  /** 'EPERM', or one of the addon's own: 'ERR_SOCKET_CLOSED', 'ERR_OUT_OF_RANGE', 'ERR_INVALID_ARG_TYPE'. */
  readonly code: string
  /** Negative, as `util.getSystemErrorName` wants it; only where a system call failed. */
  readonly errno?: number
  readonly syscall?: string
  /** 'UDP_ENCAP', 'IP_XFRM_POLICY', ...: when `syscall` is 'setsockopt'. */
  readonly option?: string
}

/** Failures of one kind in a batch that was sent or received. */
export interface NativeBatchError extends NativeError {
  readonly count: number
  /** Where the first of them was to go, when it was being sent. */
  readonly address?: string
  readonly port?: number
}

export interface NativeSocketOptions {
  readonly family: 4 | 6
  /** 0: any free one. */
  readonly port: number
  /** UDP_ENCAP = UDP_ENCAP_ESPINUDP: the kernel keeps ESP (RFC 3948) and leaves us what begins with four zero bytes. */
  readonly udpEncap?: boolean
  /** UDP_GRO. Datagrams the kernel joined are split again before they are delivered. */
  readonly udpGro?: boolean
  /** IP_XFRM_POLICY or IPV6_XFRM_POLICY: what this socket sends and receives goes past all IPsec policies. */
  readonly bypassPolicy?: boolean
  readonly reusePort?: boolean
  /** SO_MARK; 0 sets none. */
  readonly mark?: number
  /** SO_RCVBUFFORCE, or SO_RCVBUF where we may not; 0 leaves the system's default. The kernel doubles it. */
  readonly receiveBufferBytes?: number
  /** 0 to 63. */
  readonly dscp?: number
  /** Larger datagrams are discarded and counted; 65535 if not given. */
  readonly maximumBytes?: number
  /** A socket that this process has already, from `leaveOpen` before an exec: taken as it is, whatever the other options say. */
  readonly descriptor?: number
}

export interface NativeCounters {
  readonly received: number
  /** Too large, or without the address they were sent to. */
  readonly discarded: number
  readonly sent: number
  /** Refused by the kernel. */
  readonly failed: number
  /** Found the send queue full, or were in it when the socket was closed. */
  readonly dropped: number
  /** Waiting for room in the kernel's send buffer now. */
  readonly queued: number
}

export interface NativeSocket {
  readonly family: 4 | 6
  readonly port: number
  /**
   * Sends the first `count` records of `batch` (native/src/batch.h). Throws, before anything is sent, when the socket is
   * closed, a record is of the other family (EAFNOSUPPORT) or points outside. Returns what the kernel refused.
   */
  send(batch: Uint8Array, count: number): NativeBatchError[] | undefined
  close(): void
  /** Its descriptor, which from now on outlives exec(2). */
  leaveOpen(): number
  counters(): NativeCounters
}

export interface NativeUdp {
  /** `onDatagrams` is called once per recvmmsg, with a batch of its own. Open sockets keep the process alive. */
  readonly UdpSocket: {
    new (
      options: NativeSocketOptions,
      onDatagrams: (batch: Uint8Array, count: number) => void,
      onErrors: (errors: NativeBatchError[]) => void,
    ): NativeSocket
    readonly prototype: NativeSocket
  }
  /**
   * Source address the kernel would send from, of IPv6 one that stays, or one that changes for privacy, where there are
   * both; throws with syscall 'connect' when there is no route.
   */
  sourceAddress(destination: Uint8Array, mark: number, bypassPolicy: boolean, prefersTemporary: boolean): Uint8Array
  /**
   * Sets on this process's netlink socket of `protocol`, bound to `port`, what the npm package netlink cannot:
   * NETLINK_CAP_ACK, NETLINK_EXT_ACK, NETLINK_NO_ENOBUFS and SO_RCVBUFFORCE (SO_RCVBUF where we may not). Returns the
   * socket's descriptor.
   */
  extendNetlinkSocket(protocol: number, port: number, receiveBufferBytes: number): number
  /**
   * Sends `requests`, several messages, in one datagram, and reads what the kernel has answered by then into `answers`,
   * one message behind the other. Returns how many bytes that is; throws with syscall 'sendto' when nothing was sent.
   */
  netlinkExchange(descriptor: number, requests: Uint8Array, answers: Uint8Array): number
  /** Messages a netlink socket had no room for so far, modulo 2^32. */
  netlinkDrops(descriptor: number): number
  /** Native sockets whose memory is not freed yet, in this thread: closed ones that await garbage collection included. */
  socketsInExistence(): number
}

const path = fileURLToPath(new URL('../../native/build/espalier_udp.node', import.meta.url))

function load(): NativeUdp {
  if (!existsSync(path)) {
    throw new EspalierError('system', 'native-addon-missing', `${path} is not there: run scripts/setup to build it`)
  }
  try {
    return createRequire(import.meta.url)(path) as NativeUdp
  } catch (cause) {
    const text = `${path} does not load: run scripts/setup to build it again (${messageOf(cause)})`
    throw new EspalierError('system', 'native-addon-unusable', text, { cause })
  }
}

export const native: NativeUdp = load()
