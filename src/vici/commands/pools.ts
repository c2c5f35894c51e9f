/**
 * load-pool, unload-pool, get-pools: virtual addresses to give away (strongSwan: vici_attribute.c). None is given away
 * yet, so that no lease keeps a pool from being replaced; load-pool warns of it.
 */
import { givenPool } from '../../config/given.ts'
import { Refusal, succeeded, type Handlers } from '../command.ts'
import { accepted, loaded, namedSections, warningsOf } from '../given.ts'
import { booleanOf, section, textOf } from '../message.ts'

export const poolCommands: Handlers = {
  'load-pool': (request, { operations: { gateway } }) => {
    const { configured } = gateway
    const given = namedSections(request).map((named) => givenPool(named))
    const pools = accepted(given)
    const warnings = warningsOf(given)
    configured.warn(warnings)
    for (const pool of pools) configured.loadPool(pool)
    return loaded(warnings)
  },

  'unload-pool': (request, { operations: { gateway } }) => {
    const name = textOf(request, 'name')
    if (name === null) throw new Refusal('missing pool name to unload')
    if (!gateway.configured.unloadPool(name)) throw new Refusal(`${name} not found`)
    return succeeded()
  },

  'get-pools': (request, { operations: { gateway } }) => {
    const wanted = textOf(request, 'name')
    const withLeases = booleanOf(request, 'leases', false)
    const pools = gateway.configured.pools().filter(({ name }) => wanted === null || wanted === name)
    return section(
      ...pools.map(({ name, base, size }) => {
        const leases = withLeases ? section() : null
        const pool = section(
          ['base', base.toString()],
          ['size', String(size)],
          ['online', '0'],
          ['offline', '0'],
          ['leases', leases],
        )
        return [name, pool] as const
      }),
    )
  },
}
