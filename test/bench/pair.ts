/**
 * One that is measured and its peers, in network namespaces of their own with a cable between them, each on a core of
 * its own: what life.ts and keepalives.ts begin with.
 */
import { availableParallelism } from 'node:os'
import { join } from 'node:path'

import { Lab, type Host, type LabOwner } from '../lab/support/network.ts'
import type { Affair, AskOrder, ExchangeOrder, Order, Outcome, Tally } from './initiator.ts'
import { Pinned } from './pinned.ts'
import type { Responder } from './responders.ts'

export const IKE_PROPOSAL = 'aes128-sha256-x25519'
export const ESP_PROPOSAL = 'aes128-sha256'
export const PSK = 'what both sides of the bench know'
export const MEASURED_CORE = 0
const MEASURED = '192.0.2.2'
const PEERS_CORE = availableParallelism() - 1
/** At bringing up what is to be measured. */
const ATTEMPTS = 3
/** Of the peers' heap, in MiB: there may be 50,000 of them. */
const HEAP_MOST = 8192

export interface PairOptions {
  readonly espProposal: string
  /** By which the peers know the one that is measured, which then is behind a NAT. */
  readonly outside?: string
}

/** One that is measured, with peers of its own. */
export class Pair<R extends Responder = Responder> {
  readonly name: string
  readonly responder: R
  readonly #host: Host
  readonly #peers: Pinned<Order | ExchangeOrder | AskOrder, Outcome | Tally>

  private constructor(name: string, responder: R, host: Host, peers: Pinned<Order | ExchangeOrder | AskOrder, Outcome | Tally>) {
    this.name = name
    this.responder = responder
    this.#host = host
    this.#peers = peers
  }

  static async start<R extends Responder>(
    owner: LabOwner,
    name: string,
    { espProposal, outside }: PairOptions,
    start: (host: Host) => Promise<R>,
  ): Promise<Pair<R>> {
    const lab = new Lab(owner)
    const left = await lab.host('peers')
    const right = await lab.host('measured')
    await lab.cable(left, 'wire', '192.0.2.1/24', right, 'wire', `${MEASURED}/24`)
    const responder = await start(right)
    const peers = new Pinned<Order | ExchangeOrder | AskOrder, Outcome | Tally>(left, PEERS_CORE, [
      `--max-old-space-size=${HEAP_MOST}`,
      join(import.meta.dirname, 'initiator.ts'),
      ...[MEASURED, IKE_PROPOSAL, espProposal, PSK],
      ...(outside === undefined ? [] : [outside]),
    ])
    await peers.hear()
    return new Pair(name, responder, right, peers)
  }

  /** On a busy machine one or the other comes to nothing, which is not what is measured here. */
  async establish(handshakes: number, concurrency: number, peers = 'peer'): Promise<void> {
    let missing = handshakes
    for (let i = 0; i < ATTEMPTS && missing > 0; i++)
      missing = ((await this.#peers.tell({ handshakes: missing, concurrency, peers })) as Outcome).failed
    if (missing > 0) throw new Error(`${this.name}: ${missing} of ${handshakes} handshakes failed`)
  }

  async tally(): Promise<Tally> {
    return (await this.#peers.tell({ ask: 'tally' })) as Tally
  }

  /** Its peers begin. */
  async haveExchanges(exchange: Affair, times: number, concurrency: number): Promise<void> {
    await this.#peers.tell({ exchange, times, concurrency })
  }

  /** It begins, on all of its IKE_SAs with `peers`. */
  async beRekeyed(what: readonly string[]): Promise<void> {
    await this.#host.run('swanctl', ['--rekey', ...what, '--uri', this.responder.uri])
  }
}
