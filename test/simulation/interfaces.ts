/**
 * The interfaces of a simulated machine: their addresses, what they are connected to, whether they are up and have a
 * route to elsewhere. The first one that has is the best way anywhere.
 */
import { assert } from '../../src/base/assert.ts'
import type { IpAddress } from '../../src/base/ip.ts'
import type { HostAddress } from '../../src/ports.ts'
import type { Attachment, Link, Realm } from './network.ts'

export interface SimulatedInterface {
  readonly name: string
  readonly realm: Realm
  readonly link: Link
  addresses: readonly IpAddress[]
  isUp: boolean
  hasRoute: boolean
}

export class Interfaces {
  readonly #owner: Attachment
  readonly #changed: () => void
  readonly #all: SimulatedInterface[] = []
  /** Names, as charon.interfaces_ignore has them. */
  readonly ignored = new Set<string>()

  /** `changed` hears of every change but the first interfaces. */
  constructor(owner: Attachment, changed: () => void) {
    this.#owner = owner
    this.#changed = changed
  }

  add(name: string, addresses: readonly IpAddress[], realm: Realm, link: Link): void {
    this.#all.push({ name, realm, link, addresses, isUp: true, hasRoute: true })
    for (const address of addresses) realm.owners.set(address.toString(), this.#owner)
    this.#changed()
  }

  /** Changes an interface: goes up or down, gets or loses addresses or its route. */
  set(name: string, change: Partial<Pick<SimulatedInterface, 'addresses' | 'isUp' | 'hasRoute'>>): void {
    const found = this.#all.find((candidate) => candidate.name === name)
    assert(found !== undefined, `there is an interface ${name}`)
    for (const address of usable(found)) found.realm.owners.delete(address.toString())
    Object.assign(found, change)
    for (const address of usable(found)) found.realm.owners.set(address.toString(), this.#owner)
    this.#changed()
  }

  get addresses(): readonly IpAddress[] {
    return this.#all.flatMap(usable)
  }

  isIgnored(address: IpAddress): boolean {
    return this.ignored.has(this.with(address)?.name ?? '')
  }

  get hostAddresses(): readonly HostAddress[] {
    const heeded = this.#all.filter(({ name }) => !this.ignored.has(name))
    return heeded.flatMap((one) => usable(one).map((address) => ({ address, interface: one.name })))
  }

  /** Who has an address of ours. */
  with(address: IpAddress): SimulatedInterface | null {
    for (const one of this.#all) for (const own of usable(one)) if (own.equals(address)) return one
    return null
  }

  sourceFor({ family }: IpAddress): IpAddress | null {
    for (const one of this.#all) {
      const source = one.hasRoute ? usable(one).find((own) => own.family === family) : undefined
      if (source !== undefined) return source
    }
    return null
  }

  reaches(local: IpAddress, remote: IpAddress): boolean {
    return local.family === remote.family && this.with(local)?.hasRoute === true
  }
}

function usable({ isUp, addresses }: SimulatedInterface): readonly IpAddress[] {
  return isUp ? addresses : []
}
