/**
 * load-pool, unload-pool, get-pools: virtual addresses to give away (strongSwan: vici_attribute.c).
 */
import type { LeaseStatus } from '../../address/leases.ts'
import { givenPool } from '../../config/given.ts'
import { Refusal, succeeded, type Handlers } from '../command.ts'
import { accepted, loaded, namedSections, warningsOf } from '../given.ts'
import { booleanOf, section, textOf, type ViciSection } from '../message.ts'

export const poolCommands: Handlers = {
  'load-pool': (request, { operations: { gateway } }) => {
    const { configured } = gateway
    const given = namedSections(request).map((named) => givenPool(named))
    const pools = accepted(given)
    const warnings = warningsOf(given)
    configured.warn(warnings)
    const refused = pools.filter((pool) => configured.loadPool(pool) === 'refused').map(({ name }) => name)
    if (refused.length > 0) throw new Refusal(`unable to replace ${refused.join(', ')}: addresses are in use`)
    return loaded(warnings)
  },

  'unload-pool': (request, { operations: { gateway } }) => {
    const name = textOf(request, 'name')
    if (name === null) throw new Refusal('missing pool name to unload')
    switch (gateway.configured.unloadPool(name)) {
      case 'absent':
        throw new Refusal(`${name} not found`)
      case 'refused':
        throw new Refusal(`${name} has online leases, unable to unload`)
      case 'removed':
    }
    return succeeded()
  },

  'get-pools': (request, { operations: { gateway } }) => {
    const wanted = textOf(request, 'name')
    const withLeases = booleanOf(request, 'leases', false)
    const pools = gateway.leases.pools().filter(({ pool: { name } }) => wanted === null || wanted === name)
    return section(
      ...pools.map(({ pool: { name, base, size }, online, offline }) => {
        const leases = withLeases ? section(...gateway.leases.leasesOf(name).map(leaseEntry)) : null
        const pool = section(
          ['base', base.toString()],
          ['size', String(size)],
          ['online', String(online)],
          ['offline', String(offline)],
          ['leases', leases],
        )
        return [name, pool] as const
      }),
    )
  },
}

function leaseEntry({ address, holder, isOnline }: LeaseStatus, index: number): readonly [string, ViciSection] {
  return [
    String(index),
    section(['address', address.toString()], ['identity', holder.name], ['status', isOnline ? 'online' : 'offline']),
  ]
}
