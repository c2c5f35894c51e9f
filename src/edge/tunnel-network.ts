/**
 * Virtual addresses and routes of tunnels, made by rtnetlink. One request at a time:
 * there are as many as tunnels come and go.
 */
import { getSystemErrorMessage } from 'node:util'

import { messageOf } from '../base/errors.ts'
import type { Family, IpAddress } from '../base/ip.ts'
import { SECOND, type Milliseconds } from '../base/time.ts'
import { decodeWay, encodeAddressChange, encodeRouteChange, encodeRuleChange } from '../kernel/host-changes.ts'
import { encodeRouteQuery } from '../kernel/rtnetlink.ts'
import { NETLINK_ROUTE } from '../kernel/rtnetlink-constants.ts'
import type { ReceivedMessage } from '../kernel/xfrm/attributes.ts'
import { LITTLE_ENDIAN, NLMSG_ERROR } from '../kernel/xfrm/constants.ts'
import { structAt } from '../kernel/xfrm/structs.ts'
import type { NextHop, TunnelNetwork, TunnelRoute } from '../ports.ts'
import { openNetlinkSocket, type NetlinkSocket } from './netlink-socket.ts'

/** One answer at a time. */
const RECEIVE_BUFFER_BYTES = 64 * 1024

/** The kernel answers before the send returns; what takes longer than this will not come. */
const REPLY_TIMEOUT: Milliseconds = 5 * SECOND

/** Negative error numbers of the kernel that are no failure: it is there, or gone, already. */
const EEXIST = -17
const ESRCH = -3
const EADDRNOTAVAIL = -99
const ENOENT = -2

export interface TunnelNetworkOptions {
  /** Where the routes are, and the priority of the rule that has it looked at. */
  readonly table: number
  readonly priority: number
  readonly onTrouble: (sentence: string) => void
}

export interface OpenTunnelNetwork extends TunnelNetwork {
  /** Takes the rules away again. */
  close(): Promise<void>
}

/** Opens the socket and sets the rules. Rejects with a system error where there is no rtnetlink. */
export async function openTunnelNetwork(options: TunnelNetworkOptions): Promise<OpenTunnelNetwork> {
  const network = new RtnetlinkTunnels(options)
  await network.changeRules('add')
  return network
}

/** `error` negative as the kernel has it, 0 for done. */
interface Answer {
  readonly error: number
  readonly message: ReceivedMessage | null
}

const NO_ANSWER: Answer = { error: -110, message: null }

class RtnetlinkTunnels implements OpenTunnelNetwork {
  readonly #options: TunnelNetworkOptions
  readonly #socket: NetlinkSocket
  #sequence = 0
  #turn: Promise<unknown> = Promise.resolve()
  #waiting: { readonly sequence: number; readonly settle: (answer: Answer) => void } | null = null
  #isClosed = false

  constructor(options: TunnelNetworkOptions) {
    this.#options = options
    this.#socket = openNetlinkSocket({
      protocol: NETLINK_ROUTE,
      receiveBufferBytes: RECEIVE_BUFFER_BYTES,
      onMessages: (messages) => messages.forEach((message) => this.#handle(message)),
      onTrouble: options.onTrouble,
    })
  }

  async wayTo(local: IpAddress, remote: IpAddress): Promise<NextHop | null> {
    const query = { local, remote, interfaceIndex: null, asUsed: true } as const
    const { message } = await this.#ask((sequence) => encodeRouteQuery(query, sequence))
    return message === null ? null : decodeWay(message)
  }

  async addAddress(address: IpAddress, interfaceIndex: number): Promise<string | null> {
    return this.#change((sequence) => encodeAddressChange({ op: 'add', address, interfaceIndex }, sequence), EEXIST)
  }

  async removeAddress(address: IpAddress, interfaceIndex: number): Promise<string | null> {
    return this.#change((sequence) => encodeAddressChange({ op: 'remove', address, interfaceIndex }, sequence), EADDRNOTAVAIL)
  }

  async addRoute(route: TunnelRoute): Promise<string | null> {
    return this.#change((sequence) => encodeRouteChange({ op: 'add', route, table: this.#options.table }, sequence), 0)
  }

  async removeRoute(route: TunnelRoute): Promise<string | null> {
    return this.#change((sequence) => encodeRouteChange({ op: 'remove', route, table: this.#options.table }, sequence), ESRCH)
  }

  async changeRules(op: 'add' | 'remove'): Promise<void> {
    const { table, priority, onTrouble } = this.#options
    for (const family of [4, 6] as const satisfies readonly Family[]) {
      const rule = { op, family, table, priority }
      const refused = await this.#change((sequence) => encodeRuleChange(rule, sequence), op === 'add' ? EEXIST : ENOENT)
      if (refused !== null)
        onTrouble(`the rule for routing table ${table} cannot be ${op === 'add' ? 'set' : 'removed'}: ${refused}`)
    }
  }

  async close(): Promise<void> {
    if (this.#isClosed) return
    await this.changeRules('remove')
    this.#isClosed = true
    await this.#socket.close()
  }

  async #change(encode: (sequence: number) => Uint8Array, harmless: number): Promise<string | null> {
    const { error } = await this.#ask(encode)
    return error === 0 || error === harmless ? null : getSystemErrorMessage(error)
  }

  #ask(encode: (sequence: number) => Uint8Array): Promise<Answer> {
    const answer = this.#turn.then(() => this.#askNow(encode))
    this.#turn = answer
    return answer
  }

  #askNow(encode: (sequence: number) => Uint8Array): Promise<Answer> {
    if (this.#isClosed) return Promise.resolve(NO_ANSWER)
    this.#sequence = this.#sequence === 0xffff_ffff ? 1 : this.#sequence + 1
    const sequence = this.#sequence
    return new Promise((resolve) => {
      const settle = (answer: Answer): void => {
        clearTimeout(timer)
        this.#waiting = null
        resolve(answer)
      }
      const timer = setTimeout(() => settle(NO_ANSWER), REPLY_TIMEOUT)
      this.#waiting = { sequence, settle }
      try {
        this.#socket.socket.send([encode(sequence)], {}, (error) => {
          if (error !== undefined && this.#waiting?.sequence === sequence) settle(NO_ANSWER)
        })
      } catch (error) {
        this.#options.onTrouble(`a netlink request could not be sent: ${messageOf(error)}`)
        settle(NO_ANSWER)
      }
    })
  }

  #handle(message: ReceivedMessage): void {
    if (this.#waiting?.sequence !== message.sequence) return
    const isError = message.type === NLMSG_ERROR
    const error = isError ? structAt(message.payload, 0, 4, 'an acknowledgement').getInt32(0, LITTLE_ENDIAN) : 0
    this.#waiting.settle({ error, message: isError ? null : message })
  }
}
