/**
 * The UDP sockets IKE lives on: IPv4 and IPv6, the IKE port and the NAT-T port. On the NAT-T port the kernel keeps
 * ESP-in-UDP and keepalives for itself (RFC 3948, UDP_ENCAP) and leaves us what begins with the non-ESP marker, which
 * is neither stripped nor added here. Every socket is bound to the unspecified address; which of ours a datagram was
 * sent to, and is sent from, travels with it (IP_PKTINFO).
 */
import { lookup } from 'node:dns/promises'
import { networkInterfaces } from 'node:os'

import { assert } from '../base/assert.ts'
import { EspalierError } from '../base/errors.ts'
import { Endpoint, IpAddress, type Family } from '../base/ip.ts'
import type { Datagram, Network } from '../ports.ts'
import {
  native,
  type NativeBatchError,
  type NativeCounters,
  type NativeError,
  type NativeSocket,
  type NativeSocketOptions,
} from './native.ts'

export type UdpError = NativeError
export type UdpCounters = NativeCounters

/** Layout of a batch, as drawn in native/src/batch.h. */
const RECORD_BYTES = 48
const REMOTE_AT = 16
const LOCAL_AT = 32

/** Datagrams sent in one turn of the event loop that go to the kernel together. */
const SEND_BATCH_DATAGRAMS = 32
/** Largest datagram the length field of UDP can express (RFC 768). */
const DATAGRAM_BYTES_MAXIMUM = 65535
/** Payload bytes of a send batch: room for 32 datagrams of an Ethernet frame's size, or one of any size. */
const SEND_BATCH_BYTES = 65536
/** Link-local peers whose interface is remembered; the one not heard of for longest makes room. */
const LINK_LOCAL_PEERS = 1024
/** Attempts to find a random port that is free in both families. */
const RANDOM_PORT_ATTEMPTS = 8

export type UdpSocketOptions = NativeSocketOptions

/** A datagram and the interface it came in on. `bytes` has memory of its own, so keeping it keeps nothing else. */
export type OnArrival = (bytes: Uint8Array, local: Endpoint, remote: Endpoint, interfaceIndex: number) => void
export type OnSocketError = (error: UdpError, count: number) => void

/** One bound UDP socket. Open sockets keep the process alive. */
export class UdpSocket {
  readonly family: Family
  /** The real one, also when 0 was asked for. */
  readonly port: number
  readonly #native: NativeSocket
  readonly #onError: OnSocketError
  readonly #onArrival: OnArrival
  readonly #batch = new Uint8Array(SEND_BATCH_DATAGRAMS * RECORD_BYTES + SEND_BATCH_BYTES)
  readonly #view = new DataView(this.#batch.buffer)
  #batched = 0
  #batchEnd = SEND_BATCH_DATAGRAMS * RECORD_BYTES
  #closed = false

  /** Throws a UdpError naming the system call and the socket option that failed. */
  constructor(options: UdpSocketOptions, onArrival: OnArrival, onError: OnSocketError) {
    this.#onArrival = onArrival
    this.#onError = onError
    this.#native = new native.UdpSocket(
      options,
      (batch, count) => this.#deliver(batch, count),
      (errors) => this.#report(errors),
    )
    this.family = this.#native.family
    this.port = this.#native.port
  }

  get closed(): boolean {
    return this.#closed
  }

  /**
   * Copies the datagram; it leaves when the running JavaScript has returned to the event loop, together with others, or
   * at once when a batch is full. A `from` of 0.0.0.0 or :: lets the kernel choose. An `interfaceIndex` other than 0 makes
   * it leave through that interface: link-local addresses need one. Throws a UdpError when the socket is closed
   * (ERR_SOCKET_CLOSED) or an address is of the other family (EAFNOSUPPORT); what the kernel refuses goes to `onError`.
   */
  send(bytes: Uint8Array, from: IpAddress, to: Endpoint, interfaceIndex = 0): void {
    if (this.#closed) throw udpError('ERR_SOCKET_CLOSED', 'the socket is closed')
    if (to.address.family !== this.family || from.family !== this.family) {
      throw udpError('EAFNOSUPPORT', `from ${from.toString()} to ${to.toString()} on an IPv${this.family} socket`)
    }
    if (bytes.length > DATAGRAM_BYTES_MAXIMUM) throw udpError('EMSGSIZE', `a datagram of ${bytes.length} bytes`)
    if (this.#batchEnd + bytes.length > this.#batch.length) this.flush()
    const record = this.#batched * RECORD_BYTES
    this.#view.setUint32(record, this.#batchEnd)
    this.#view.setUint32(record + 4, bytes.length)
    this.#view.setUint16(record + 8, to.port)
    this.#view.setUint16(record + 10, this.family << 8)
    this.#view.setUint32(record + 12, interfaceIndex)
    // The record is used again and again; an IPv4 socket only ever writes, and reads, the first four bytes.
    this.#batch.set(to.address.bytes, record + REMOTE_AT)
    this.#batch.set(from.bytes, record + LOCAL_AT)
    this.#batch.set(bytes, this.#batchEnd)
    this.#batchEnd += bytes.length
    this.#batched++
    if (this.#batched === SEND_BATCH_DATAGRAMS) this.flush()
    else if (this.#batched === 1) process.nextTick(() => this.flush())
  }

  /** Gives what `send` collected to the kernel now. */
  flush(): void {
    if (this.#batched === 0) return
    const count = this.#batched
    this.#batched = 0
    this.#batchEnd = SEND_BATCH_DATAGRAMS * RECORD_BYTES
    const errors = this.#native.send(this.#batch, count)
    if (errors !== undefined) this.#report(errors)
  }

  /** Sends what was collected; from now on the socket outlives exec(2), under this descriptor. */
  leaveOpen(): InheritedSocket {
    this.flush()
    return { family: this.family, port: this.port, descriptor: this.#native.leaveOpen() }
  }

  /** Sends what was collected and closes; the port is free on return. Closing again does nothing. */
  close(): void {
    if (this.#closed) return
    this.#closed = true
    this.flush()
    this.#native.close()
  }

  counters(): UdpCounters {
    return this.#native.counters()
  }

  #deliver(batch: Uint8Array, count: number): void {
    const view = new DataView(batch.buffer)
    const addressBytes = this.family === 4 ? 4 : 16
    for (let at = 0; at < count * RECORD_BYTES; at += RECORD_BYTES) {
      if (this.#closed) return
      const offset = view.getUint32(at)
      const bytes = batch.slice(offset, offset + view.getUint32(at + 4))
      const remote = new IpAddress(batch.slice(at + REMOTE_AT, at + REMOTE_AT + addressBytes))
      const local = new IpAddress(batch.slice(at + LOCAL_AT, at + LOCAL_AT + addressBytes))
      try {
        this.#onArrival(
          bytes,
          new Endpoint(local, this.port),
          new Endpoint(remote, view.getUint16(at + 8)),
          view.getUint32(at + 12),
        )
      } catch (error) {
        // An 'uncaughtException', as it would be without the batch, but one that does not cost the datagrams behind it.
        queueMicrotask(() => {
          throw error
        })
      }
    }
  }

  #report(errors: readonly NativeBatchError[]): void {
    for (const error of errors) this.#onError(error, error.count)
  }
}

/** A bound socket; throws a UdpError naming the system call and the socket option that failed. */
export function openUdpSocket(options: UdpSocketOptions, onArrival: OnArrival, onError: OnSocketError): UdpSocket {
  return new UdpSocket(options, onArrival, onError)
}

export interface UdpNetworkOptions {
  /** The IKE port, 500; 0 picks a free one. */
  readonly port: number
  /** The NAT-T port, 4500; 0 picks a free one. */
  readonly portNatT: number
  readonly families: readonly Family[]
  /** UDP_ENCAP and UDP_GRO on the NAT-T sockets. */
  readonly encapsulation: boolean
  /** Lets IKE go past the host's IPsec policies; needs CAP_NET_ADMIN. */
  readonly bypassPolicy: boolean
  /** SO_MARK; 0 sets none. */
  readonly mark: number
  /** Of our IPv6 addresses those that change for privacy (RFC 8981) are sent from, where there are any. */
  readonly prefersTemporary?: boolean
  /** 0 leaves the system's default. */
  readonly receiveBufferBytes: number
  readonly reusePort: boolean
  /** 0 to 63 (RFC 2474). */
  readonly dscp: number
  /** Sockets that the program which was this process before has left open: they are taken in the place of new ones. */
  readonly inherited?: readonly InheritedSocket[]
}

/** A socket that is open, and that no packet has to do without when another program takes this process over. */
export interface InheritedSocket {
  readonly family: Family
  readonly port: number
  readonly descriptor: number
}

export type OnDatagram = (datagram: Datagram) => void
/**
 * Called for the first error of a kind (code and family), and when their number `total` passes a power of two: enough to
 * see that it goes on, at most some fifty calls however long it does.
 */
export type OnNetworkError = (error: UdpError, total: number) => void

/** The Network port over up to four sockets. */
export class UdpNetwork implements Network {
  /** The real ports, also when 0 was asked for. */
  readonly port: number
  readonly portNatT: number
  /** Those that could be opened: without IPv6 on the host there is only 4. */
  readonly families: readonly Family[]
  readonly #sockets: UdpSocket[]
  readonly #options: UdpNetworkOptions
  readonly #onDatagram: OnDatagram
  readonly #onError: OnNetworkError
  readonly #errorTotals = new Map<string, number>()
  readonly #interfaceOf = new Map<string, number>()
  readonly #probePorts = new Map<Family, number | null>()
  #closed = false
  #sentAfterClose = 0

  /**
   * Opens the sockets. A family the host does not have (EAFNOSUPPORT) is reported to `onError` and left out as long as
   * another remains; every other failure closes what was opened and is thrown as a UdpError.
   */
  constructor(options: UdpNetworkOptions, onDatagram: OnDatagram, onError: OnNetworkError) {
    if (options.port !== 0 && options.port === options.portNatT) {
      throw new EspalierError('caller', 'same-ports', `the IKE port and the NAT-T port are both ${options.port}`)
    }
    this.#options = options
    this.#onDatagram = onDatagram
    this.#onError = onError
    const sockets: UdpSocket[] = []
    const missing = new Set<Family>()
    try {
      this.port = this.#openPort(options.port, false, sockets, missing)
      this.portNatT = this.#openPort(options.portNatT, true, sockets, missing)
    } catch (error) {
      for (const socket of sockets) socket.close()
      throw error
    }
    this.#sockets = sockets
    this.families = options.families.filter((family) => !missing.has(family))
  }

  /** Opens `asked` in all families: the same port everywhere, also when it is a random one. Returns the port. */
  #openPort(asked: number, natT: boolean, sockets: UdpSocket[], missing: Set<Family>): number {
    // Sockets of failed attempts stay open until there is a good one, or the kernel might offer the same port again.
    const given: UdpSocket[] = []
    try {
      for (let attempt = 1; ; attempt++) {
        const opened: UdpSocket[] = []
        try {
          for (const family of this.#options.families) {
            if (missing.has(family)) continue
            const socket = this.#openOne(family, opened[0]?.port ?? asked, natT, missing)
            if (socket !== null) opened.push(socket)
          }
          sockets.push(...opened)
          const first = opened[0]
          assert(first !== undefined, 'one family could be opened, or the last one threw')
          return first.port
        } catch (error) {
          given.push(...opened)
          const collided = asked === 0 && opened.length > 0 && codeOf(error) === 'EADDRINUSE'
          if (!collided || attempt === RANDOM_PORT_ATTEMPTS) throw error
        }
      }
    } finally {
      for (const socket of given) socket.close()
    }
  }

  #open(family: Family, port: number, udpEncap: boolean): UdpSocket {
    const { bypassPolicy, mark, receiveBufferBytes, reusePort, dscp, inherited = [] } = this.#options
    // Port 0 asks for any: that of the program before is the one that the peers know.
    const known = port === 0 ? undefined : inherited.find((socket) => socket.family === family && socket.port === port)
    const options = { family, port, udpEncap, udpGro: udpEncap, bypassPolicy, mark, receiveBufferBytes, reusePort, dscp }
    return openUdpSocket(
      known === undefined ? options : { ...options, descriptor: known.descriptor },
      (bytes, local, remote, interfaceIndex) => this.#arrived(bytes, local, remote, interfaceIndex),
      (error, count) => this.#failed(error, family, count),
    )
  }

  #openOne(family: Family, port: number, natT: boolean, missing: Set<Family>): UdpSocket | null {
    const { encapsulation, families } = this.#options
    try {
      return this.#open(family, port, natT && encapsulation)
    } catch (error) {
      if (codeOf(error) !== 'EAFNOSUPPORT' || missing.size + 1 === families.length) throw error
      missing.add(family)
      this.#failed(error as UdpError, family, 1)
      return null
    }
  }

  /** Never throws: what cannot be sent is counted and reported to `onError`; after close() it is only counted. */
  send(bytes: Uint8Array, from: Endpoint, to: Endpoint): void {
    if (this.#closed) {
      this.#sentAfterClose++
      return
    }
    const family = to.address.family
    const socket = this.#sockets.find((candidate) => candidate.family === family && candidate.port === from.port)
    try {
      if (socket === undefined) throw udpError('ERR_NO_SOCKET', `no IPv${family} socket has port ${from.port}`)
      socket.send(bytes, from.address, to, isLinkLocal(to.address) ? this.#interfaceFor(from.address, to.address) : 0)
    } catch (error) {
      this.#failed(error as UdpError, family, 1)
    }
  }

  /** Neither UDP_ENCAP nor a port that others could rely on: it comes and goes with this network. */
  probePort(family: Family): number | null {
    const known = this.#probePorts.get(family)
    if (known !== undefined) return known
    if (this.#closed || !this.families.includes(family)) return null
    let port: number | null = null
    try {
      const socket = this.#open(family, 0, false)
      this.#sockets.push(socket)
      port = socket.port
    } catch (error) {
      this.#failed(error as UdpError, family, 1)
    }
    this.#probePorts.set(family, port)
    return port
  }

  /** With the mark of our sockets, and past the policies if they go past them; null for link-local destinations too. */
  sourceFor(destination: IpAddress): Promise<IpAddress | null> {
    if (destination.isAny) return Promise.resolve(null)
    const { mark, bypassPolicy, prefersTemporary } = this.#options
    try {
      const source = native.sourceAddress(destination.bytes, mark, bypassPolicy, prefersTemporary ?? false)
      return Promise.resolve(new IpAddress(source))
    } catch (error) {
      // The kernel's words for "no route" are many: ENETUNREACH, EHOSTUNREACH, EACCES, EINVAL, by the kind of the route.
      const { syscall, code } = error as UdpError
      const unreachable = syscall === 'connect' || code === 'EAFNOSUPPORT'
      if (!unreachable) this.#failed(error as UdpError, destination.family, 1)
      return Promise.resolve(null)
    }
  }

  /** Asks the system's resolver. A name that does not exist is no error; other failures are reported to `onError`. */
  async resolve(host: string): Promise<readonly IpAddress[]> {
    try {
      const found = await lookup(host, { all: true, order: 'verbatim' })
      return found.map(({ address }) => IpAddress.tryParse(address)).filter((address) => address !== null)
    } catch (error) {
      if (codeOf(error) !== 'ENOTFOUND') this.#failed(error as UdpError, 4, 1)
      return []
    }
  }

  /**
   * For whoever takes this process over by exec(2): the sockets of both ports, which stay open. Of what is under way is
   * sent what can be.
   */
  leaveOpen(): readonly InheritedSocket[] {
    const ports = [this.port, this.portNatT]
    return this.#sockets.filter(({ port }) => ports.includes(port)).map((socket) => socket.leaveOpen())
  }

  /** Sends what is under way and closes all sockets; the ports are free on return. Closing again does nothing. */
  close(): void {
    if (this.#closed) return
    this.#closed = true
    for (const socket of this.#sockets) socket.close()
  }

  /** Sums over all sockets; `sentAfterClose` were lost because they came too late. */
  counters(): UdpCounters & { readonly sentAfterClose: number } {
    const sum = { received: 0, discarded: 0, sent: 0, failed: 0, dropped: 0, queued: 0, sentAfterClose: this.#sentAfterClose }
    for (const socket of this.#sockets) {
      const { received, discarded, sent, failed, dropped, queued } = socket.counters()
      sum.received += received
      sum.discarded += discarded
      sum.sent += sent
      sum.failed += failed
      sum.dropped += dropped
      sum.queued += queued
    }
    return sum
  }

  /** How often each kind of error occurred, by `code family`: `ENETUNREACH 4`. */
  get errorTotals(): ReadonlyMap<string, number> {
    return this.#errorTotals
  }

  #arrived(bytes: Uint8Array, local: Endpoint, remote: Endpoint, interfaceIndex: number): void {
    if (this.#closed) return
    if (isLinkLocal(remote.address)) this.#rememberInterface(remote.address, interfaceIndex)
    this.#onDatagram({ bytes, local, remote })
  }

  #failed(error: UdpError, family: Family, count: number): void {
    const kind = `${error.code} ${family}`
    const before = this.#errorTotals.get(kind) ?? 0
    const total = before + count
    this.#errorTotals.set(kind, total)
    if (before === 0 || Math.floor(Math.log2(total)) > Math.floor(Math.log2(before))) this.#onError(error, total)
  }

  #rememberInterface(remote: IpAddress, interfaceIndex: number): void {
    const key = remote.toString()
    this.#interfaceOf.delete(key)
    this.#interfaceOf.set(key, interfaceIndex)
    if (this.#interfaceOf.size > LINK_LOCAL_PEERS) this.#interfaceOf.delete(this.#interfaceOf.keys().next().value!)
  }

  /**
   * A link-local address means nothing without its interface, which Endpoint does not carry: it is the one the peer was
   * last heard on, before that the one that has our own link-local address, else 0: the kernel then takes some link.
   */
  #interfaceFor(local: IpAddress, remote: IpAddress): number {
    const heard = this.#interfaceOf.get(remote.toString())
    if (heard !== undefined) return heard
    const text = local.toString()
    for (const addresses of Object.values(networkInterfaces())) {
      for (const own of addresses ?? []) if (own.family === 'IPv6' && own.address === text) return own.scopeid ?? 0
    }
    return 0
  }
}

/** fe80::/10, RFC 4291 2.5.6. */
function isLinkLocal(address: IpAddress): boolean {
  return address.family === 6 && address.bytes[0] === 0xfe && (address.bytes[1]! & 0xc0) === 0x80
}

function udpError(code: string, message: string): UdpError {
  return Object.assign(new Error(`${code}: ${message}`), { code })
}

function codeOf(error: unknown): unknown {
  return (error as { code?: unknown } | null)?.code
}
