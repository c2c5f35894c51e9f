/**
 * Who has which virtual address (strongSwan: mem_pool.c). A lease is online while an IKE_SA has it, and offline from
 * then on: the identity that had it gets it again, until its pool has no address left for somebody new.
 *
 * What is kept is bounded by the sizes of the pools, and only who has authenticated gets anything. It can be told
 * (`kept`) and given to the Leases of another time, which then know everybody again (lease-text.ts).
 */
import { isDeepStrictEqual } from 'node:util'

import { assert } from '../base/assert.ts'
import type { Endpoint, IpAddress } from '../base/ip.ts'
import type { KeptLease, LeaseHolder } from '../ports.ts'
import { addressAt, offsetOf, type Pool, type PoolAttribute } from './pool.ts'

/** An address that an IKE_SA has for its peer; to be given back to the Leases it came from, once. */
export interface Lease {
  readonly pool: string
  readonly address: IpAddress
  readonly holder: LeaseHolder
  /** How it came about, for the log. */
  readonly origin: 'new' | 'returned' | 'shared' | { readonly takenFrom: LeaseHolder }
}

/** One line of a pool's list. */
export interface LeaseStatus {
  readonly address: IpAddress
  readonly holder: LeaseHolder
  readonly isOnline: boolean
}

export interface PoolStatus {
  readonly pool: Pool
  readonly online: number
  readonly offline: number
}

/** What became of a pool that was put: refused ones have other addresses, and some of the old are in use. */
export type PoolChange = 'added' | 'updated' | 'replaced' | 'unchanged' | 'refused'

interface Account {
  readonly holder: LeaseHolder
  /** Twice the same offset while one IKE_SA takes the place of another. */
  readonly online: { readonly offset: number; readonly peer: string }[]
  readonly offline: number[]
}

class PoolBook {
  pool: Pool
  /** Addresses from here on were never given away, but for those that were `kept`. */
  #unused = 0
  readonly #kept = new Set<number>()
  #online = 0
  #offline = 0
  readonly #accounts = new Map<string, Account>()
  /** Keys of those with an offline lease, the one that has been away longest first. */
  readonly #away = new Set<string>()

  constructor(pool: Pool) {
    this.pool = pool
  }

  get online(): number {
    return this.#online
  }
  get offline(): number {
    return this.#offline
  }

  /** The address this identity has already: shared with an IKE_SA from the same endpoint (make before break), or one that it had. */
  existing(key: string, requested: IpAddress, peer: string): number | null {
    const account = this.#accounts.get(key)
    if (account === undefined) return null
    const wanted = requested.isAny ? null : offsetOf(this.pool, requested)
    const shared = account.online.find((lease) => lease.peer === peer && (requested.isAny || lease.offset === wanted))
    return shared?.offset ?? null
  }

  /** The offline lease of this identity, the one it asks for if it has several. */
  returned(key: string, requested: IpAddress): number | null {
    const account = this.#accounts.get(key)
    if (account === undefined || account.offline.length === 0) return null
    const wanted = offsetOf(this.pool, requested)
    const at = wanted === null ? -1 : account.offline.indexOf(wanted)
    return this.#takeOffline(key, account, Math.max(at, 0))
  }

  /** What another time had: all of them are away, the one that comes first for the longest. */
  restore(leases: readonly KeptLease[]): void {
    for (const { address, holder } of leases) {
      const offset = offsetOf(this.pool, address)
      if (offset === null || this.#kept.has(offset)) continue
      this.#kept.add(offset)
      this.#setAside(this.#accountOf(holder), offset)
    }
  }

  fresh(): number | null {
    while (this.#kept.delete(this.#unused)) this.#unused++
    return this.#unused < this.pool.size ? this.#unused++ : null
  }

  /** The address of who has been away longest. */
  taken(): { readonly offset: number; readonly from: LeaseHolder } | null {
    const [key] = this.#away
    if (key === undefined) return null
    const account = this.#accounts.get(key)
    assert(account !== undefined, 'who is away is known')
    const offset = this.#takeOffline(key, account, 0)
    if (account.online.length + account.offline.length === 0) this.#accounts.delete(key)
    return { offset, from: account.holder }
  }

  give(holder: LeaseHolder, offset: number, peer: string): void {
    this.#accountOf(holder).online.push({ offset, peer })
    this.#online++
  }

  resume(holder: LeaseHolder, address: IpAddress, peer: string): boolean {
    const offset = offsetOf(this.pool, address)
    if (offset === null) return false
    const account = this.#accounts.get(holder.key)
    const at = account?.offline.indexOf(offset) ?? -1
    const isHeld = account?.online.some((lease) => lease.offset === offset) === true
    if (account !== undefined && at >= 0) this.#takeOffline(holder.key, account, at)
    else if (!isHeld && (offset < this.#unused || this.#kept.has(offset))) return false
    if (offset >= this.#unused) this.#kept.add(offset)
    this.give(holder, offset, peer)
    return true
  }

  release(key: string, address: IpAddress): void {
    const account = this.#accounts.get(key)
    const offset = offsetOf(this.pool, address)
    if (account === undefined || offset === null) return
    const at = account.online.findIndex((lease) => lease.offset === offset)
    if (at < 0) return
    account.online.splice(at, 1)
    this.#online--
    // The other of two IKE_SAs has it still.
    if (account.online.some((lease) => lease.offset === offset)) return
    this.#setAside(account, offset)
  }

  *leases(): Generator<LeaseStatus> {
    for (const { holder, online, offline } of this.#accounts.values()) {
      for (const offset of new Set(online.map((lease) => lease.offset)))
        yield { address: addressAt(this.pool, offset), holder, isOnline: true }
      for (const offset of offline) yield { address: addressAt(this.pool, offset), holder, isOnline: false }
    }
  }

  /** Everybody's, whoever has been away longest first, those that are online last. */
  *kept(): Generator<KeptLease> {
    const pool = this.pool.name
    const kept = (holder: LeaseHolder, offset: number): KeptLease => ({ pool, address: addressAt(this.pool, offset), holder })
    for (const key of this.#away) {
      const { holder, offline } = this.#accounts.get(key)!
      for (const offset of offline) yield kept(holder, offset)
    }
    for (const { holder, online } of this.#accounts.values())
      for (const offset of new Set(online.map((lease) => lease.offset))) yield kept(holder, offset)
  }

  #accountOf(holder: LeaseHolder): Account {
    let account = this.#accounts.get(holder.key)
    if (account === undefined) this.#accounts.set(holder.key, (account = { holder, online: [], offline: [] }))
    return account
  }

  #setAside(account: Account, offset: number): void {
    const { key } = account.holder
    account.offline.push(offset)
    this.#offline++
    this.#away.delete(key)
    this.#away.add(key)
  }

  #takeOffline(key: string, account: Account, at: number): number {
    const [offset] = account.offline.splice(at, 1)
    assert(offset !== undefined, 'an offline lease is taken where there is one')
    this.#offline--
    if (account.offline.length === 0) this.#away.delete(key)
    return offset
  }
}

export class Leases {
  readonly #pools = new Map<string, PoolBook>()
  /** What another time had of pools that there are none of yet: a client may load them. */
  readonly #kept = new Map<string, KeptLease[]>()
  readonly #changed: () => void

  /** `kept` as another time told it; `changed` hears of whatever makes a difference to what is to be kept. */
  constructor(kept: readonly KeptLease[] = [], changed: () => void = () => undefined) {
    this.#changed = changed
    for (const lease of kept) {
      const ofPool = this.#kept.get(lease.pool)
      if (ofPool === undefined) this.#kept.set(lease.pool, [lease])
      else ofPool.push(lease)
    }
  }

  /** Takes over a pool as it is configured now. Leases stay where its addresses stay (strongSwan: vici_attribute.c). */
  put(pool: Pool): PoolChange {
    const book = this.#pools.get(pool.name)
    if (book === undefined) {
      this.#begin(pool, this.#kept.get(pool.name) ?? [])
      this.#kept.delete(pool.name)
      return 'added'
    }
    if (isDeepStrictEqual(book.pool, pool)) return 'unchanged'
    if (book.pool.base.equals(pool.base) && book.pool.size === pool.size) {
      book.pool = pool
      return 'updated'
    }
    if (book.online > 0) return 'refused'
    this.#begin(pool, [...book.kept()])
    return 'replaced'
  }

  #begin(pool: Pool, kept: readonly KeptLease[]): void {
    const book = new PoolBook(pool)
    book.restore(kept)
    this.#pools.set(pool.name, book)
  }

  /** False, and nothing happens, while addresses of it are in use. */
  remove(name: string): boolean {
    const book = this.#pools.get(name)
    if (book !== undefined && book.online > 0) return false
    this.#pools.delete(name)
    this.#changed()
    return true
  }

  /**
   * An address of one of these pools, for a peer that asks for `requested` (unspecified for any of that family): in
   * this order one that the identity has, one that nobody had, one of somebody who is away; each tried with all pools.
   * Null when there is none. `peer` is where it asks from.
   */
  acquire(pools: readonly string[], holder: LeaseHolder, requested: IpAddress, peer: Endpoint): Lease | null {
    const from = peer.toString()
    const books = pools.flatMap((name) => {
      const book = this.#pools.get(name)
      return book === undefined || book.pool.base.family !== requested.family ? [] : [book]
    })
    for (const find of FINDERS) {
      for (const book of books) {
        const found = find(book, holder.key, requested, from)
        if (found === null) continue
        book.give(holder, found.offset, from)
        this.#changed()
        return { pool: book.pool.name, address: addressAt(book.pool, found.offset), holder, origin: found.origin }
      }
    }
    return null
  }

  /** The IKE_SA that has this lease goes on from another time. False if the address is no more of the pool, or somebody else's. */
  resume({ pool, address, holder }: Pick<Lease, 'pool' | 'address' | 'holder'>, peer: Endpoint): boolean {
    return this.#pools.get(pool)?.resume(holder, address, peer.toString()) ?? false
  }

  /** The IKE_SA has gone: the address waits for its identity to come back. */
  release(lease: Lease): void {
    this.#pools.get(lease.pool)?.release(lease.holder.key, lease.address)
    this.#changed()
  }

  /** All that another time needs to know everybody again; of those who are not online, who has been away longest comes first. */
  kept(): readonly KeptLease[] {
    return [...[...this.#kept.values()].flat(), ...[...this.#pools.values()].flatMap((book) => [...book.kept()])]
  }

  /** What else who has these leases is told: the attributes of their pools, each pool's once. */
  attributesOf(leases: readonly Lease[]): readonly PoolAttribute[] {
    const names = new Set(leases.map(({ pool }) => pool))
    return [...names].flatMap((name) => this.#pools.get(name)?.pool.attributes ?? [])
  }

  /** In the order they came. */
  pools(): readonly PoolStatus[] {
    return [...this.#pools.values()].map(({ pool, online, offline }) => ({ pool, online, offline }))
  }

  leasesOf(name: string): readonly LeaseStatus[] {
    return [...(this.#pools.get(name)?.leases() ?? [])]
  }
}

interface Found {
  readonly offset: number
  readonly origin: Lease['origin']
}

/** In the order they are tried (strongSwan). */
const FINDERS: readonly ((book: PoolBook, key: string, requested: IpAddress, peer: string) => Found | null)[] = [
  (book, key, requested, peer) =>
    found(book.existing(key, requested, peer), 'shared') ?? found(book.returned(key, requested), 'returned'),
  (book) => found(book.fresh(), 'new'),
  (book) => {
    const taken = book.taken()
    return taken === null ? null : { offset: taken.offset, origin: { takenFrom: taken.from } }
  },
]

function found(offset: number | null, origin: Lease['origin']): Found | null {
  return offset === null ? null : { offset, origin }
}
