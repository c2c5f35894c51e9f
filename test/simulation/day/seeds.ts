/** Plays days, or harsh quarters of an hour, one seed after another. */
import { play, type World } from '../world.ts'
import { day } from './day.ts'
import { harsh } from './harsh.ts'

export interface Played {
  readonly seed: string
  /** Null when everything held. */
  readonly failure: string | null
  /** How often anything happened. */
  readonly steps: number
}

export function playDay(seed: string, hours: number): Promise<Played> {
  return playFrom(seed, (world) => day(world, hours))
}

export function playHarsh(seed: string): Promise<Played> {
  return playFrom(seed, harsh)
}

/** What does not hold is told with the end of the story and how to see it again. */
async function playFrom(seed: string, plan: (world: World) => Promise<void>): Promise<Played> {
  let steps = 0
  const body = (world: World): Promise<void> => {
    world.checks.push(() => void steps++)
    return plan(world)
  }
  try {
    await play(seed, body, { isLong: true, remembers: false })
    return { seed, failure: null, steps }
  } catch (error) {
    return { seed, failure: error instanceof Error ? error.message : String(error), steps }
  }
}
