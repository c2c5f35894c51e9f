/**
 * News of our addresses, links and routes, gathered for a moment before the IKE_SAs hear of them (strongSwan: 100 ms):
 * an interface that comes up tells of its link, its addresses and each of its routes.
 */
import type { Milliseconds } from '../base/time.ts'
import type { HostNetwork } from '../ports.ts'
import type { Timeouts } from './timeouts.ts'

const GATHERING_TIME: Milliseconds = 100
/** Ours: every IKE_SA asks the kernel about its route, so that a gateway with very many looks less often when routes keep changing. */
const GATHERING_TIME_PER_IKE_SA: Milliseconds = 0.2

export class Roaming {
  readonly #host: HostNetwork
  readonly #timeouts: Timeouts
  readonly #ikeSas: () => number
  readonly #tell: (addressesChanged: boolean) => void
  #known: string
  #isGathering = false

  constructor(host: HostNetwork, timeouts: Timeouts, ikeSas: () => number, tell: (addressesChanged: boolean) => void) {
    this.#host = host
    this.#timeouts = timeouts
    this.#ikeSas = ikeSas
    this.#tell = tell
    this.#known = this.#addresses()
  }

  handleChange(): void {
    if (this.#isGathering) return
    this.#isGathering = true
    const time = Math.max(GATHERING_TIME, GATHERING_TIME_PER_IKE_SA * this.#ikeSas())
    void this.#timeouts.within(time, NEVER).then(() => this.#pass())
  }

  #pass(): void {
    this.#isGathering = false
    const addresses = this.#addresses()
    const haveChanged = addresses !== this.#known
    this.#known = addresses
    this.#tell(haveChanged)
  }

  /** As far as peers hear of them. */
  #addresses(): string {
    return this.#host
      .addresses()
      .map(({ address }) => address.toString())
      .toSorted()
      .join(' ')
  }
}

const NEVER = new Promise<never>(() => undefined)
