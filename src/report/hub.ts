/**
 * Where lines come from and who hears them: the log, a log file, clients that follow the log over VICI. Nobody has to
 * put into words what nobody wants to hear.
 */
import { LEVELS, LOG_GROUPS, type Level, type Line, type LogGroup, type Loudness, type Loudnesses } from './line.ts'

export interface ListenOptions {
  /** The least of pino's levels, besides how loud it is. */
  readonly least?: Level
}

interface Listener {
  readonly loudnesses: Loudnesses
  readonly least: number
  readonly heard: (line: Line) => void
}

export class LogHub {
  readonly #listeners = new Set<Listener>()
  /** By group and level, how loud somebody wants it at most. */
  #loudest: ReadonlyMap<LogGroup, readonly number[]> = new Map()

  /** `heard` gets every line that is no louder than `loudnesses` allows, until the function that is returned is called. */
  listen(loudnesses: Loudnesses, heard: (line: Line) => void, options: ListenOptions = {}): () => void {
    const listener = { loudnesses, least: LEVELS.indexOf(options.least ?? 'debug'), heard }
    this.#listeners.add(listener)
    this.#weigh()
    return () => {
      this.#listeners.delete(listener)
      this.#weigh()
    }
  }

  wants(group: LogGroup, loudness: Loudness, level: Level): boolean {
    return loudness <= (this.#loudest.get(group)?.[LEVELS.indexOf(level)] ?? -1)
  }

  readonly write = (line: Line): void => {
    for (const { loudnesses, least, heard } of this.#listeners) {
      if (line.loudness <= loudnesses[line.group] && LEVELS.indexOf(line.level) >= least) heard(line)
    }
  }

  #weigh(): void {
    const loudestAt = (group: LogGroup, level: number): number =>
      Math.max(-1, ...[...this.#listeners].filter(({ least }) => least <= level).map(({ loudnesses }) => loudnesses[group]))
    this.#loudest = new Map(LOG_GROUPS.map((group) => [group, LEVELS.map((_, level) => loudestAt(group, level))]))
  }
}
