/** Plays days, one seed after another. */
import { play, type World } from '../world.ts'
import { day } from './day.ts'

export interface Played {
  readonly seed: string
  /** Null when everything held. */
  readonly failure: string | null
  /** How often anything happened. */
  readonly steps: number
}

/** Null when all that must hold held, else what did not, with the end of the story and how to see it again. */
export async function playDay(seed: string, hours: number): Promise<Played> {
  let steps = 0
  const body = (world: World): Promise<void> => {
    world.checks.push(() => void steps++)
    return day(world, hours)
  }
  try {
    await play(seed, body, { isLong: true, remembers: false })
    return { seed, failure: null, steps }
  } catch (error) {
    return { seed, failure: error instanceof Error ? error.message : String(error), steps }
  }
}
