/**
 * Sections of swanctl.conf as the VICI messages that load them (strongSwan: load_conns.c, load_creds.c, load_pools.c).
 */
import type { SharedSecret } from '../auth/secrets.ts'
import type { ResolvedSection } from '../config/references.ts'
import { parseList } from '../config/values.ts'
import { section, type ViciNode, type ViciSection } from '../vici/message.ts'

/** Keys of connections whose values are lists; strongSwan's daemon takes them in no other form. */
const LISTS = new Set([
  ...['local_addrs', 'remote_addrs', 'proposals', 'esp_proposals', 'ah_proposals', 'local_ts', 'remote_ts'],
  ...['vips', 'pools', 'groups', 'cert_policy'],
])

/** `load-conn` of one connection. */
export function connectionMessage(connection: ResolvedSection): ViciSection {
  return section([connection.name, nested(connection, (key) => LISTS.has(key.toLowerCase()))])
}

/** `load-pool` of one pool: the address range is a value, attributes are lists. */
export function poolMessage(pool: ResolvedSection): ViciSection {
  return section([pool.name, nested(pool, (key) => key !== 'addrs')])
}

/** `load-authority` of one certification authority. */
export function authorityMessage(authority: ResolvedSection): ViciSection {
  return section([authority.name, nested(authority, (key) => key === 'crl_uris' || key === 'ocsp_uris')])
}

/** `load-shared`; the owners as they are written, for the daemon reads them itself. */
export function sharedMessage({ name, kind, secret }: SharedSecret, written: ResolvedSection): ViciSection {
  const owners = [...written.settings.values()].filter((setting) => setting.name.startsWith('id')).map(({ value }) => value)
  return section(
    ['id', name],
    ['type', kind],
    ['data', secret.dangerouslyReveal()],
    ['owners', owners.filter((owner) => owner !== null)],
  )
}

function nested(from: ResolvedSection, isList: (key: string) => boolean): ViciSection {
  const entries: (readonly [string, ViciNode])[] = []
  for (const { name, value } of from.settings.values()) {
    // `key =` says no more than that nothing is inherited.
    if (value !== null) entries.push([name, isList(name) ? parseList(value) : value])
  }
  for (const inner of from.sections.values()) entries.push([inner.name, nested(inner, isList)])
  return section(...entries)
}
