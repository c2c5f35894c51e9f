/**
 * How often what came and went, in all and by connection: strongSwan's counters, their names and their order, and behind
 * them ours, of what happens to NAT mappings and to CHILD_SAs.
 */
import { ExchangeType } from '../iana/ikev2.ts'
import type { DropReason, IkeEvent, MessageFacts } from '../ike/events.ts'
import type { IkeSa } from '../ike/sa.ts'

export const COUNTER_NAMES = [
  'ike-rekey-init',
  'ike-rekey-resp',
  'child-rekey',
  'invalid',
  'invalid-spi',
  'ike-init-in-req',
  'ike-init-in-resp',
  'ike-init-out-req',
  'ike-init-out-resp',
  'ike-auth-in-req',
  'ike-auth-in-resp',
  'ike-auth-out-req',
  'ike-auth-out-resp',
  'create-child-in-req',
  'create-child-in-resp',
  'create-child-out-req',
  'create-child-out-resp',
  'info-in-req',
  'info-in-resp',
  'info-out-req',
  'info-out-resp',
  // Ours.
  'nat-detected',
  'endpoints-moved',
  'keepalive-sent',
  'keepalive-suppressed',
  'mapping-probed',
  'health-suspect',
  'health-failing',
  'health-repair',
  'encap-mismatch',
] as const

export type CounterName = (typeof COUNTER_NAMES)[number]
/** In the order of COUNTER_NAMES. */
export type CounterSet = ReadonlyMap<CounterName, number>

export class Counters {
  #all = zeros()
  /** By name of the connection; a connection is entered when first something is counted for it. */
  readonly #byConnection = new Map<string, Map<CounterName, number>>()

  readonly handle = (event: IkeEvent): void => {
    if (event.event === 'message-sent' || event.event === 'message-received') return this.#countMessage(event)
    if (event.event === 'child-rekeyed') return this.#count('child-rekey', nameOf(event.sa))
    if (event.event === 'ike-rekeyed')
      return this.#count(event.sa.role === 'initiator' ? 'ike-rekey-init' : 'ike-rekey-resp', nameOf(event.old))
    if (isCountedAsItIs(event)) return this.#count(event.event, nameOf(event.sa))
    if (event.event === 'ike-established') {
      const { here, there } = event.sa.nat
      if (here || there) this.#count('nat-detected', nameOf(event.sa))
      return
    }
    if (event.event === 'child-repairing') return this.#count('health-repair', nameOf(event.sa))
    if (event.event === 'health-changed') {
      const { state, reason } = event.child.health
      if (state === 'suspect' || state === 'failing') this.#count(`health-${state}`, nameOf(event.sa))
      if (reason === 'encap-mismatch') this.#count(reason, nameOf(event.sa))
      return
    }
    if (event.event === 'encapsulation-mismatch') return this.#count('encap-mismatch', null)
    if (event.event !== 'datagram-dropped') return
    const counter = DROPS[event.reason]
    if (counter !== undefined) this.#count(counter, null)
  }

  /** Of all connections and strangers together, or of one connection; null when nothing was counted for it yet. */
  get(connection: string | null): CounterSet | null {
    return connection === null ? this.#all : (this.#byConnection.get(connection) ?? null)
  }

  /** Connections that something was counted for, by name. */
  connections(): readonly string[] {
    return [...this.#byConnection.keys()].toSorted()
  }

  /** Begins again at 0: all together, or one connection, which is then forgotten until it counts again. */
  reset(connection: string | null): void {
    if (connection === null) this.#all = zeros()
    else this.#byConnection.delete(connection)
  }

  /** Forgets every connection; what is counted of all together goes on (strongSwan). */
  resetConnections(): void {
    this.#byConnection.clear()
  }

  /** strongSwan counts a message once, however often it is sent. */
  #countMessage(message: { readonly event: 'message-sent' | 'message-received' } & MessageFacts): void {
    const exchange = EXCHANGES.get(message.exchangeType)
    if (exchange === undefined || message.isRetransmission) return
    const direction = message.event === 'message-sent' ? 'out' : 'in'
    this.#count(`${exchange}-${direction}-${message.isResponse ? 'resp' : 'req'}`, nameOf(message.sa))
  }

  #count(counter: CounterName, connection: string | null): void {
    increase(this.#all, counter)
    if (connection === null) return
    let named = this.#byConnection.get(connection)
    if (named === undefined) this.#byConnection.set(connection, (named = zeros()))
    increase(named, counter)
  }
}

const EXCHANGES: ReadonlyMap<number, 'ike-init' | 'ike-auth' | 'create-child' | 'info'> = new Map([
  [ExchangeType.IKE_SA_INIT, 'ike-init'],
  [ExchangeType.IKE_AUTH, 'ike-auth'],
  [ExchangeType.CREATE_CHILD_SA, 'create-child'],
  [ExchangeType.INFORMATIONAL, 'info'],
])

type AsItIs = Extract<
  IkeEvent,
  { readonly event: 'endpoints-moved' | 'keepalive-sent' | 'keepalive-suppressed' | 'mapping-probed' }
>
const AS_IT_IS: ReadonlySet<string> = new Set<AsItIs['event']>([
  'endpoints-moved',
  'keepalive-sent',
  'keepalive-suppressed',
  'mapping-probed',
])

function isCountedAsItIs(event: IkeEvent): event is AsItIs {
  return AS_IT_IS.has(event.event)
}

/** Messages that could not be read or opened, and messages for no IKE_SA. */
const DROPS: Readonly<Partial<Record<DropReason, CounterName>>> = {
  'not-ike': 'invalid',
  'marker-on-ike-port': 'invalid',
  'malformed': 'invalid',
  'not-authentic': 'invalid',
  'unknown-spi': 'invalid-spi',
}

/** Null at a responder until it knows who the peer is. */
function nameOf(sa: IkeSa | null): string | null {
  return sa?.connection?.name ?? null
}

function zeros(): Map<CounterName, number> {
  return new Map(COUNTER_NAMES.map((name) => [name, 0]))
}

function increase(counters: Map<CounterName, number>, counter: CounterName): void {
  counters.set(counter, counters.get(counter)! + 1)
}
