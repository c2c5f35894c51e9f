/**
 * Log lines to standard output by pino: JSON, one object a line; when standard output is a terminal,
 * just the sentences.
 */
import { pino, type Logger } from 'pino'
import { build as prettyStream } from 'pino-pretty'

import type { Level, Line } from '../report/report.ts'

/** Writes are synchronous: the last lines before an end are the ones that matter most. */
export function openLog(level: Level): (line: Line) => void {
  const destination = process.stdout.isTTY
    ? prettyStream({ colorize: true, sync: true, translateTime: 'SYS:HH:MM:ss.l', hideObject: true })
    : pino.destination({ dest: 1, sync: true })
  const logger: Logger = pino({ level, base: null, timestamp: pino.stdTimeFunctions.isoTime }, destination)
  return (line) => logger[line.level](line.fields, line.message)
}
