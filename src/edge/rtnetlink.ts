/**
 * The machine's own network, followed by rtnetlink: its links and addresses, which are read anew whenever one of them
 * changes, and whether there is a route, which is asked of the kernel each time.
 */
import { messageOf } from '../base/errors.ts'
import type { IpAddress } from '../base/ip.ts'
import { SECOND, type Milliseconds } from '../base/time.ts'
import {
  decodeAddress,
  decodeLink,
  decodeRouteMtu,
  decodeRouteTable,
  encodeDump,
  encodeRouteQuery,
  type AddressFacts,
  type LinkFacts,
} from '../kernel/rtnetlink.ts'
import { NETLINK_ROUTE, NLMSG_DONE, RTM, RTNLGRP } from '../kernel/rtnetlink-constants.ts'
import type { ReceivedMessage } from '../kernel/xfrm/attributes.ts'
import { NLMSG_ERROR } from '../kernel/xfrm/constants.ts'
import type { HostAddress, HostNetwork } from '../ports.ts'
import { native } from './native.ts'
import { openNetlinkSocket, type NetlinkSocket } from './netlink-socket.ts'

/** A host with a full routing table tells of many routes at once. What does not fit is counted, and all is read anew. */
const RECEIVE_BUFFER_BYTES = 1024 * 1024

/** The kernel answers before the send returns; what takes longer than this will not come. */
const REPLY_TIMEOUT: Milliseconds = 5 * SECOND

/** Routes asked for in one send. */
const QUERIES_PER_SEND = 64

export interface HostNetworkOptions {
  /** Called after something has changed; the new facts are there already. */
  readonly onChange: () => void
  /** What befell the sockets, a sentence each: for the log. */
  readonly onTrouble: (sentence: string) => void
  /** Interfaces whose addresses are nobody's business: by name. */
  readonly isIgnored: (interfaceName: string) => boolean
  /** IPv6 addresses that change for privacy instead of those that stay. */
  readonly prefersTemporary: boolean
  /** Whether news of routes and rules is news; those that matter are asked for in any case. */
  readonly followsRoutes: boolean
  /** Routes of this table are our own making. */
  readonly ownTable: number
}

export interface OpenHostNetwork extends HostNetwork {
  close(): Promise<void>
}

/** Reads what there is and follows it from then on. Rejects with a system error where there is no rtnetlink. */
export async function openHostNetwork(options: HostNetworkOptions): Promise<OpenHostNetwork> {
  const host = new RtnetlinkHost(options)
  await host.open()
  return host
}

/** A route, that there is none, or that the kernel did not say. */
type RouteAnswer = ReceivedMessage | 'none' | 'unheard'

interface Query {
  readonly sequence: number
  readonly bytes: Uint8Array
  readonly settle: (answer: RouteAnswer) => void
}

interface Dump {
  readonly sequence: number
  readonly found: ReceivedMessage[]
  readonly settle: (messages: readonly ReceivedMessage[] | null) => void
}

class RtnetlinkHost implements OpenHostNetwork {
  readonly #options: HostNetworkOptions
  #links: ReadonlyMap<number, LinkFacts> = new Map()
  #all: readonly AddressFacts[] = []
  #addresses: readonly HostAddress[] = []
  /** By their text; empty where nothing is ignored. */
  #ignored: ReadonlySet<string> = new Set()
  #requests: NetlinkSocket | null = null
  #events: NetlinkSocket | null = null
  #eventsLost = 0
  #closed = false
  #sequence = 0
  #dump: Dump | null = null
  #reading: Promise<void> | null = null
  #isOutdated = false
  #waiting: Query[] = []
  readonly #inFlight = new Map<number, Query>()
  #timer: NodeJS.Timeout | null = null

  constructor(options: HostNetworkOptions) {
    this.#options = options
  }

  async open(): Promise<void> {
    this.#requests = this.#openSocket((messages) => messages.forEach((message) => this.#handleReply(message)))
    const events = this.#openSocket((messages) => this.#handleEvents(messages, events.descriptor))
    this.#events = events
    const { LINK, IPV4_IFADDR, IPV6_IFADDR, ...routes } = RTNLGRP
    const groups = [LINK, IPV4_IFADDR, IPV6_IFADDR, ...(this.#options.followsRoutes ? Object.values(routes) : [])]
    for (const group of groups) events.socket.addMembership(group)
    await this.#read()
  }

  addresses(): readonly HostAddress[] {
    return this.#addresses
  }

  isIgnored(address: IpAddress): boolean {
    return this.#ignored.size > 0 && this.#ignored.has(address.toString())
  }

  async reaches(local: IpAddress, remote: IpAddress): Promise<boolean> {
    if (this.isIgnored(local)) return false
    const owner = this.#all.find(({ address }) => address.equals(local))
    const link = owner === undefined ? undefined : this.#links.get(owner.interfaceIndex)
    if (link === undefined || !link.isUp) return false
    // A path is not given up because the kernel is slow to tell.
    return (await this.#query({ local, remote, interfaceIndex: link.isAside ? null : link.index })) !== 'none'
  }

  async mtu(local: IpAddress, remote: IpAddress): Promise<number | null> {
    const answer = await this.#query({ local, remote, interfaceIndex: null, asUsed: true })
    if (answer === 'none' || answer === 'unheard') return null
    const { interfaceIndex, mtu } = decodeRouteMtu(answer)
    // A route without one has its interface's.
    return mtu ?? (interfaceIndex === null ? null : (this.#links.get(interfaceIndex)?.mtu ?? null))
  }

  async interfaceTo(local: IpAddress, remote: IpAddress): Promise<string | null> {
    const answer = await this.#query({ local, remote, interfaceIndex: null, asUsed: true })
    if (answer === 'none' || answer === 'unheard') return null
    const { interfaceIndex } = decodeRouteMtu(answer)
    return interfaceIndex === null ? null : (this.#links.get(interfaceIndex)?.name ?? null)
  }

  interfaceIndex(name: string): number | null {
    for (const link of this.#links.values()) if (link.name === name) return link.index
    return null
  }

  async close(): Promise<void> {
    if (this.#closed) return
    this.#closed = true
    if (this.#timer !== null) clearTimeout(this.#timer)
    for (const { settle } of [...this.#waiting, ...this.#inFlight.values()]) settle('none')
    this.#dump?.settle(null)
    await Promise.all([this.#requests?.close(), this.#events?.close()])
  }

  #handleEvents(messages: readonly ReceivedMessage[], descriptor: number): void {
    let isRoute = false
    let isOutdated = false
    for (const message of messages) {
      if (message.type === RTM.NEWROUTE || message.type === RTM.DELROUTE) {
        const table = decodeRouteTable(message)
        isRoute ||= table !== null && table !== this.#options.ownTable
      } else isOutdated = true
    }
    const lost = native.netlinkDrops(descriptor)
    if (lost !== this.#eventsLost) isOutdated = true
    this.#eventsLost = lost
    if (isOutdated) void this.#read().then(() => this.#tell())
    else if (isRoute) this.#tell()
  }

  #tell(): void {
    if (!this.#closed) this.#options.onChange()
  }

  /** Reads links and addresses; whoever asks meanwhile gets what was read after that. */
  #read(): Promise<void> {
    this.#isOutdated = true
    this.#reading ??= this.#readAll().finally(() => (this.#reading = null))
    return this.#reading
  }

  async #readAll(): Promise<void> {
    while (this.#isOutdated && !this.#closed) {
      this.#isOutdated = false
      const links = await this.#dumpOf(RTM.GETLINK)
      const addresses = links === null ? null : await this.#dumpOf(RTM.GETADDR)
      if (links === null || addresses === null) continue
      this.#links = new Map(
        links.filter(({ type }) => type === RTM.NEWLINK).map((message) => [decodeLink(message).index, decodeLink(message)]),
      )
      this.#all = addresses.flatMap((message) => (message.type === RTM.NEWADDR ? (decodeAddress(message) ?? []) : []))
      this.#addresses = this.#all.flatMap((facts) => this.#regular(facts))
      this.#ignored = new Set(
        this.#all
          .filter(({ interfaceIndex }) => this.#options.isIgnored(this.#links.get(interfaceIndex)?.name ?? ''))
          .map(({ address }) => address.toString()),
      )
    }
  }

  #regular({ interfaceIndex, address, isRegular, isTemporary }: AddressFacts): readonly HostAddress[] {
    const link = this.#links.get(interfaceIndex)
    const { isIgnored, prefersTemporary } = this.#options
    if (link === undefined || !link.isUp || !isRegular || isIgnored(link.name)) return []
    const isHidden = address.family === 6 && isTemporary !== (prefersTemporary && this.#hasTemporary(interfaceIndex))
    return isHidden ? [] : [{ address, interface: link.name }]
  }

  #hasTemporary(interfaceIndex: number): boolean {
    return this.#all.some((facts) => facts.interfaceIndex === interfaceIndex && facts.isTemporary)
  }

  /** Null when it did not come to its end. */
  #dumpOf(type: typeof RTM.GETLINK | typeof RTM.GETADDR): Promise<readonly ReceivedMessage[] | null> {
    const sequence = this.#nextSequence()
    return new Promise((resolve) => {
      const settle = (messages: readonly ReceivedMessage[] | null): void => {
        clearTimeout(timer)
        this.#dump = null
        resolve(messages)
      }
      const timer = setTimeout(() => {
        this.#options.onTrouble('the kernel did not tell of all its links or addresses')
        settle(null)
      }, REPLY_TIMEOUT)
      this.#dump = { sequence, found: [], settle }
      this.#send([encodeDump(type, sequence)], () => settle(null))
    })
  }

  #query(query: Parameters<typeof encodeRouteQuery>[0]): Promise<RouteAnswer> {
    if (this.#closed) return Promise.resolve('none')
    const sequence = this.#nextSequence()
    const bytes = encodeRouteQuery(query, sequence)
    return new Promise((settle) => {
      this.#waiting.push({ sequence, bytes, settle })
      if (this.#waiting.length === 1) queueMicrotask(() => this.#pump())
    })
  }

  #pump(): void {
    if (this.#inFlight.size > 0 || this.#waiting.length === 0) return
    const batch = this.#waiting.splice(0, QUERIES_PER_SEND)
    for (const query of batch) this.#inFlight.set(query.sequence, query)
    const fail = (): void => batch.forEach(({ sequence }) => this.#settle(sequence, 'unheard'))
    this.#timer = setTimeout(fail, REPLY_TIMEOUT)
    this.#send(
      batch.map(({ bytes }) => bytes),
      fail,
    )
  }

  #settle(sequence: number, answer: RouteAnswer): void {
    const query = this.#inFlight.get(sequence)
    if (query === undefined) return
    this.#inFlight.delete(sequence)
    query.settle(answer)
    if (this.#inFlight.size > 0) return
    if (this.#timer !== null) clearTimeout(this.#timer)
    this.#timer = null
    queueMicrotask(() => this.#pump())
  }

  #handleReply(message: ReceivedMessage): void {
    const { sequence, type } = message
    if (this.#dump !== null && sequence === this.#dump.sequence) {
      if (type === NLMSG_DONE) this.#dump.settle(this.#dump.found)
      else if (type === NLMSG_ERROR) this.#dump.settle(null)
      else this.#dump.found.push(message)
      return
    }
    this.#settle(sequence, type === RTM.NEWROUTE ? message : 'none')
  }

  #nextSequence(): number {
    this.#sequence = this.#sequence === 0xffff_ffff ? 1 : this.#sequence + 1
    return this.#sequence
  }

  #send(messages: Uint8Array[], fail: () => void): void {
    try {
      this.#requests?.socket.send(messages, {}, (error) => {
        if (error !== undefined) fail()
      })
    } catch (error) {
      this.#options.onTrouble(`a netlink request could not be sent: ${messageOf(error)}`)
      fail()
    }
  }

  #openSocket(onMessages: (messages: readonly ReceivedMessage[]) => void): NetlinkSocket {
    const { onTrouble } = this.#options
    return openNetlinkSocket({ protocol: NETLINK_ROUTE, receiveBufferBytes: RECEIVE_BUFFER_BYTES, onMessages, onTrouble })
  }
}
