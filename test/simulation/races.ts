/**
 * Rekeys and deletions that both sides of a tunnel begin within some milliseconds, on good wires and on bad ones: in the
 * end there is one of everything, or nothing where that was asked for.
 */
import assert from 'node:assert/strict'

import { MINUTE } from '../../src/base/time.ts'
import { deleteIkeSa } from '../../src/ike/delete.ts'
import type { Dice } from './entropy.ts'
import { assertOne, beginChildRekey, beginIkeRekey, standing, type Both } from './standing.ts'
import { scenarioOverSeeds, type World } from './world.ts'

export interface Kind {
  /** What the tunnel is like; null where there is nothing to say. */
  readonly title: string | null
  /** How many of the seeds are tried. */
  readonly share: number
  /** Milliseconds between one thing and the next, at most. */
  readonly pauseMax: number
  begin(world: World, dice: Dice): Promise<Both>
  /** What else has to hold when all is over. */
  end(both: Both): void
}

type Act = (both: Both) => Promise<unknown>

const childBy =
  (who: keyof Both): Act =>
  (both) =>
    beginChildRekey(both[who])
const ikeBy =
  (who: keyof Both): Act =>
  (both) =>
    beginIkeRekey(both[who])
const deletesIke: Act = ({ gateway }) =>
  standing(gateway).runExchange((session) => deleteIkeSa(session, 'deleted-by-us'), 'delete-ike')

const RACES: readonly { readonly title: string; readonly seeds: number; readonly acts: readonly Act[]; readonly isEnd?: true }[] =
  [
    { title: 'both rekey the CHILD_SA at once', seeds: 150, acts: [childBy('client'), childBy('gateway')] },
    { title: 'both rekey the IKE_SA at once', seeds: 150, acts: [ikeBy('client'), ikeBy('gateway')] },
    { title: 'one rekeys the CHILD_SA, the other the IKE_SA', seeds: 100, acts: [childBy('client'), ikeBy('gateway')] },
    { title: 'one rekeys the IKE_SA, the other the CHILD_SA', seeds: 100, acts: [ikeBy('gateway'), childBy('client')] },
    {
      title: 'both rekey both',
      seeds: 150,
      acts: [childBy('gateway'), ikeBy('client'), ikeBy('gateway'), childBy('client')],
    },
    {
      title: 'one rekeys the CHILD_SA, the other deletes the IKE_SA',
      seeds: 60,
      acts: [childBy('client'), deletesIke],
      isEnd: true,
    },
    { title: 'one rekeys the IKE_SA, the other deletes it', seeds: 60, acts: [ikeBy('client'), deletesIke], isEnd: true },
  ]

export function races(kind: Kind): void {
  for (const { title, seeds, acts, isEnd = false } of RACES) {
    for (const quality of ['a good wire', 'a bad wire'] as const) {
      const whole = `${title}${kind.title === null ? '' : `, ${kind.title}`}, over ${quality}`
      scenarioOverSeeds(whole, Math.round(seeds * kind.share), async (world) => {
        const dice = world.entropyFor('race')
        if (dice.chance(0.3)) world.kernelLatency = dice.below(40)
        const both = await kind.begin(world, dice)
        const nodes = [both.client, both.gateway]
        if (quality === 'a bad wire') {
          for (const { link } of nodes)
            Object.assign(link, { jitter: dice.below(60), loss: dice.fraction() * 0.3, duplication: dice.fraction() * 0.3 })
        }
        const results: Promise<unknown>[] = []
        for (const act of acts) {
          results.push(act(both))
          await world.pass(dice.below(kind.pauseMax))
        }
        await world.outcome(Promise.all(results))
        for (const { link } of nodes) Object.assign(link, { jitter: 0, loss: 0, duplication: 0 })
        // An IKE_SA that the peer made in vain goes when it has not been deleted for long enough.
        await world.pass(5 * MINUTE)
        kind.end(both)
        if (!isEnd) return assertOne(world, both)
        for (const node of nodes)
          assert.ok(node.sessions().every(({ sa }) => sa.children.length === 0) && node.kernel.states().length === 0)
      })
    }
  }
}
