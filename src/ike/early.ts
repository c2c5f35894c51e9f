/**
 * What has arrived for an IKE_SA that is being made in the place of another, before the answer that its keys are made of:
 * the peer has them already, and uses them (RFC 7296 2.8). Its request would have to come again after seconds otherwise.
 *
 * None of it is known to be the peer's before the IKE_SA stands; but only the peer knows the SPI until it uses that.
 */
import { equalBytes } from '../base/bytes.ts'
import type { Arrival } from './exchange.ts'

/** Our limits for one IKE_SA: with a window of one it is a single request, that goes in a few fragments at most. */
const DATAGRAMS_MAX = 4
const OCTETS_MAX = 8_192

export class Early {
  #arrivals: readonly Arrival[] = []

  /** False if there is no room for it. What is here already needs none. */
  keep(arrival: Arrival): boolean {
    const kept = this.#arrivals
    if (kept.some(({ bytes }) => equalBytes(bytes, arrival.bytes))) return true
    const octets = kept.reduce((sum, { bytes }) => sum + bytes.length, arrival.bytes.length)
    if (kept.length >= DATAGRAMS_MAX || octets > OCTETS_MAX) return false
    this.#arrivals = [...kept, arrival]
    return true
  }

  /** In the order of their arrival. */
  get arrivals(): readonly Arrival[] {
    return this.#arrivals
  }
}
