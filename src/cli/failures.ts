/**
 * How a command ends: 0 done, 1 the request failed, 2 it was not understood, 3 the daemon cannot be reached.
 */
import { CommanderError } from 'commander'

import { EspalierError, messageOf } from '../base/errors.ts'
import { UnwritableVici } from '../vici/message.ts'

export const EXIT = { done: 0, failed: 1, usage: 2, unreachable: 3 } as const

/** What was asked for was not done. */
export class RequestFailed extends EspalierError {
  override readonly name = 'RequestFailed'
  constructor(reason: string) {
    super('caller', 'REQUEST_FAILED', reason)
  }
}

/** What was asked for makes no sense. */
export class UsageError extends EspalierError {
  override readonly name = 'UsageError'
  constructor(reason: string) {
    super('caller', 'USAGE', reason)
  }
}

export interface Ending {
  readonly status: number
  /** For stderr; null when all was said. */
  readonly sentence: string | null
}

/** What an error of a command means; null if it is a defect of ours. */
export function endingOf(error: unknown): Ending | null {
  // It has printed its own words.
  if (error instanceof CommanderError) return { status: error.exitCode === 0 ? EXIT.done : EXIT.usage, sentence: null }
  if (!(error instanceof EspalierError)) return null
  const sentence = `espalier: ${messageOf(error)}`
  switch (error.code) {
    case 'USAGE':
    case 'VALUE_INVALID':
      return { status: EXIT.usage, sentence }
    case 'DAEMON_NOT_REACHABLE':
      return { status: EXIT.unreachable, sentence: `espalier: the daemon cannot be reached: ${error.message}` }
    case 'VICI_DISCONNECTED':
      return { status: EXIT.unreachable, sentence }
    default:
      return { status: error instanceof UnwritableVici ? EXIT.usage : EXIT.failed, sentence }
  }
}
