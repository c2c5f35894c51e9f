/**
 * What is configured, by name: connections, shared secrets, pools, and beside them certificates and keys
 * (credentials.ts). There is one way in, whichever door a configuration came by; what follows for IKE_SAs is
 * StartActions' (start-actions.ts).
 *
 * Loading again what is loaded already changes nothing (strongSwan: vici_config.c, merge_config). What came from files
 * goes when it has gone from them; what a client loaded stays until a client unloads it.
 */
import { isDeepStrictEqual } from 'node:util'

import type { Leases, PoolChange } from '../address/leases.ts'
import type { Pool } from '../address/pool.ts'
import { NOTHING_LOADED, type LoadedCredentials } from '../auth/loaded-credentials.ts'
import type { SharedSecret } from '../auth/secrets.ts'
import type { ChildConnection, Connection, IkeSettings } from '../ike/connection.ts'
import type { IkeEvent } from '../ike/events.ts'
import { CredentialStore } from './credentials.ts'
import { nameOf, Store, type Origin } from './store.ts'

export interface GatewayConfiguration {
  readonly connections: readonly Connection[]
  readonly secrets: readonly SharedSecret[]
  readonly pools: readonly Pool[]
  /** Certificates and keys; absent where there are none. */
  readonly credentials?: LoadedCredentials
  readonly settings: IkeSettings
}

/** updated: its children changed; replaced: it is another connection now. */
export type Change = 'added' | 'updated' | 'replaced' | 'unchanged'

/** What follows from a change for IKE_SAs, those that stand and those that are to begin. */
export interface Consequences {
  /** Runs the start actions of `children`. */
  start(connection: Connection, children: readonly ChildConnection[]): void
  /** Undoes the start actions of `children`; everything else of the connection stays, IKE_SAs without a CHILD_SA as well unless `closesEmptied`. */
  undo(connection: Connection, children: readonly ChildConnection[], closesEmptied: boolean): void
  /** IKE_SAs of `before` go on under `after`, which differs in its children. */
  continue(before: Connection, after: Connection): void
}

export class Configured {
  readonly #consequences: Consequences
  readonly #report: (event: IkeEvent) => void
  readonly #connections: Store<Connection>
  readonly #secrets: Store<SharedSecret>
  /** Certificates and keys. */
  readonly credentials: CredentialStore
  readonly #leases: Leases
  readonly #pools: Store<Pool>
  #settings: IkeSettings

  /** Takes the configuration of the files; nothing starts yet. */
  constructor(
    configuration: GatewayConfiguration,
    consequences: Consequences,
    leases: Leases,
    report: (event: IkeEvent) => void,
  ) {
    this.#consequences = consequences
    this.#leases = leases
    this.#report = report
    this.#settings = configuration.settings
    this.#connections = new Store(configuration.connections, nameOf)
    this.#secrets = new Store(configuration.secrets, nameOf)
    this.#pools = new Store(configuration.pools, nameOf)
    for (const pool of configuration.pools) leases.put(pool)
    this.credentials = new CredentialStore(configuration.credentials ?? NOTHING_LOADED, () => this.connections(), report)
  }

  get settings(): IkeSettings {
    return this.#settings
  }

  /** What runs already keeps the times it was started with. */
  replaceSettings(settings: IkeSettings): void {
    this.#settings = settings
  }

  /** Tells of what was loaded and is not honoured. */
  warn(sentences: readonly string[]): void {
    for (const sentence of sentences) this.#report({ event: 'configuration-warning', sentence })
  }

  /** Runs every start action. */
  start(): void {
    for (const connection of this.connections()) this.#consequences.start(connection, connection.children)
  }

  /** Takes over the files' new configuration as a whole; what clients loaded besides stays. */
  replaceAll(configuration: GatewayConfiguration): void {
    this.#settings = configuration.settings
    // Secrets first: what is started needs them.
    for (const name of this.#secrets.goneFrom(configuration.secrets)) this.unloadShared(name)
    for (const secret of configuration.secrets) this.loadShared(secret, 'files')
    this.credentials.replaceAll(configuration.credentials ?? NOTHING_LOADED)
    for (const name of this.#pools.goneFrom(configuration.pools)) this.unloadPool(name)
    for (const pool of configuration.pools) this.loadPool(pool, 'files')
    for (const name of this.#connections.goneFrom(configuration.connections)) this.unloadConnection(name)
    for (const connection of configuration.connections) this.loadConnection(connection, 'files')
  }

  connections(): readonly Connection[] {
    return this.#connections.all()
  }

  /**
   * Loads a connection in the place of the one of its name. IKE_SAs and CHILD_SAs that stand go on, but for children
   * that were to be started: those are closed, and started anew if they still are to be (strongSwan).
   */
  loadConnection(connection: Connection, origin: Origin = 'client'): Change {
    const before = this.#connections.get(connection.name)
    if (before !== null && isDeepStrictEqual(before, connection)) {
      this.#connections.keep(connection.name, origin)
      return 'unchanged'
    }
    this.#connections.put(connection, origin)
    const change = before === null ? 'added' : isSamePeer(before, connection) ? 'updated' : 'replaced'
    this.#report({ event: 'configuration-changed', what: 'connection', name: connection.name, change, secret: null })
    if (before === null) this.#consequences.start(connection, connection.children)
    else if (change === 'updated') this.#replaceChildren(before, connection)
    else {
      this.#consequences.undo(before, before.children, true)
      this.#consequences.start(connection, connection.children)
    }
    return change
  }

  #replaceChildren(before: Connection, after: Connection): void {
    const isIn = (child: ChildConnection, children: readonly ChildConnection[]): boolean =>
      children.some((other) => isDeepStrictEqual(child, other))
    this.#consequences.continue(before, after)
    const removed = before.children.filter((child) => !isIn(child, after.children))
    const added = after.children.filter((child) => !isIn(child, before.children))
    // An IKE_SA is only kept for what is to be made in it (strongSwan: replace_children).
    this.#consequences.undo(before, removed, !added.some((child) => child.startAction.start))
    this.#consequences.start(after, added)
  }

  /** False if there is none of this name. */
  unloadConnection(name: string): boolean {
    const before = this.#connections.remove(name)
    if (before === null) return false
    this.#report({ event: 'configuration-changed', what: 'connection', name, change: 'removed', secret: null })
    this.#consequences.undo(before, before.children, true)
    return true
  }

  secrets(): readonly SharedSecret[] {
    return this.#secrets.all()
  }

  /** In the place of the one of its name; the bytes of the one that goes are overwritten. */
  loadShared(secret: SharedSecret, origin: Origin = 'client'): Change {
    const name = secret.name === '' ? this.#nameOf(secret) : secret.name
    const before = this.#secrets.get(name)
    if (before !== null && isSameSecret(before, secret)) {
      this.#secrets.keep(name, origin)
      return 'unchanged'
    }
    this.#secrets.put({ ...secret, name }, origin)
    before?.secret.destroy()
    const change = before === null ? 'added' : 'replaced'
    this.#report({ event: 'configuration-changed', what: 'shared-secret', name, change, secret })
    return change
  }

  /** A secret without an identifier replaces its equal, and has a name that nobody can ask for. */
  #nameOf(secret: SharedSecret): string {
    const equal = this.secrets().find(({ name, ...other }) => isUnnamed(name) && isSameSecret({ ...other, name: '' }, secret))
    return equal?.name ?? `${UNNAMED}${this.#unnamed++}`
  }
  #unnamed = 0

  /** False if there is none of this name. */
  unloadShared(name: string): boolean {
    const before = this.#secrets.remove(name)
    if (before === null) return false
    before.secret.destroy()
    this.#report({ event: 'configuration-changed', what: 'shared-secret', name, change: 'removed', secret: before })
    return true
  }

  /** The identifiers of those that have one. */
  sharedIds(): readonly string[] {
    return this.secrets()
      .map(({ name }) => name)
      .filter((name) => !isUnnamed(name))
  }

  clearCredentials(): void {
    for (const { name } of [...this.secrets()]) this.unloadShared(name)
    this.credentials.clear()
  }

  /** Loads a pool in the place of the one of its name; refused while addresses are in use that it does not have any more. */
  loadPool(pool: Pool, origin: Origin = 'client'): PoolChange {
    const change = this.#leases.put(pool)
    if (change === 'unchanged' || change === 'refused') {
      this.#pools.keep(pool.name, origin)
      if (change === 'refused') this.#tellOfUse(pool.name, 'replace')
      return change
    }
    this.#pools.put(pool, origin)
    this.#report({ event: 'configuration-changed', what: 'pool', name: pool.name, change, secret: null })
    return change
  }

  /** Absent if there is none of this name, refused while addresses of it are in use. */
  unloadPool(name: string): 'removed' | 'absent' | 'refused' {
    if (this.#pools.get(name) === null) return 'absent'
    if (!this.#leases.remove(name)) {
      this.#tellOfUse(name, 'unload')
      return 'refused'
    }
    this.#pools.remove(name)
    this.#report({ event: 'configuration-changed', what: 'pool', name, change: 'removed', secret: null })
    return 'removed'
  }

  #tellOfUse(name: string, verb: string): void {
    const online = this.#leases.pools().find(({ pool }) => pool.name === name)?.online ?? 0
    this.warn([`vici pool ${name} has ${online} online leases, unable to ${verb}`])
  }
}

/** No name of a client's or a file's: VICI's are printable. */
const UNNAMED = '\0'
function isUnnamed(name: string): boolean {
  return name.startsWith(UNNAMED)
}

/** Whether they are the same but for their children. */
function isSamePeer(a: Connection, b: Connection): boolean {
  return isDeepStrictEqual({ ...a, children: [] }, { ...b, children: [] })
}

function isSameSecret(a: SharedSecret, b: SharedSecret): boolean {
  return a.kind === b.kind && isDeepStrictEqual(a.owners, b.owners) && a.secret.equals(b.secret)
}
