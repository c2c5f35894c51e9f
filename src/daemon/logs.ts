/**
 * Where the daemon's log goes and how much of it: what the command line says, or else strongswan.conf.
 */
import { messageOf } from '../base/errors.ts'
import type { LogSettings } from '../config/log.ts'
import { openLogFile } from '../edge/log-file.ts'
import { openLog } from '../edge/log.ts'
import { DEFAULT_LOUDNESS, LogHub, loudnesses, type Level, type Line, type LogGroup } from '../report/report.ts'

/** strongSwan's level for each of pino's. */
const LOUDNESSES: Readonly<Record<Level, number>> = { error: 1, warn: 1, info: DEFAULT_LOUDNESS, debug: 2 }

export class Logs {
  readonly hub = new LogHub()
  readonly #level: Level | null
  readonly #standardOutput = openLog()
  #stopStandardOutput: () => void
  #closeFiles: (() => void)[] = []

  /** `level`, if there is one, counts for standard output whatever the configuration says. */
  constructor(level: Level | null) {
    this.#level = level
    const loudness = loudnesses(LOUDNESSES[level ?? 'info'])
    this.#stopStandardOutput = this.hub.listen(loudness, this.#standardOutput, { least: level ?? 'debug' })
  }

  /** Also after a reload: files are opened anew, so that they can be moved away before. */
  configure({ standardOutput, files }: LogSettings): void {
    if (this.#level === null) {
      this.#stopStandardOutput()
      this.#stopStandardOutput = this.hub.listen(standardOutput, this.#standardOutput)
    }
    this.closeFiles()
    for (const file of files) {
      try {
        const { write, close } = openLogFile(file, this.#tellTrouble)
        const stop = this.hub.listen(file.levels, write)
        this.#closeFiles.push(() => {
          stop()
          close()
        })
      } catch (error) {
        this.#tellTrouble(messageOf(error))
      }
    }
  }

  closeFiles(): void {
    for (const close of this.#closeFiles.splice(0)) close()
  }

  readonly #tellTrouble = (sentence: string): void => this.hub.write(daemonLine('warn', sentence, 'log-trouble'))
}

/** A line about the daemon itself, or what is around it. */
export function daemonLine(
  level: Level,
  message: string,
  event: string,
  fields: Readonly<Record<string, unknown>> = {},
  group: LogGroup = 'dmn',
): Line {
  return { group, loudness: 1, level, message, ike: null, fields: { event, ...fields } }
}
